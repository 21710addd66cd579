"""CONTRIBUTING.md: its code runs, and its commands exist."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cifar_zoo.cli import commands

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
NETWORK, OWN_NETWORK, LAYER = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


@pytest.fixture
def run_python(python):
    """Run a program in a folder outside of the repository."""

    def run(code, folder):
        done = python("-c", code, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_network_is_registered_and_has_the_parameters_that_it_claims(run_python, tmp_path):
    (tmp_path / "plain_net.py").write_text(NETWORK)
    check = """
import math
import cifar_zoo, plain_net
info = cifar_zoo.model_info("plain_net")
model = info.build()
trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
print(info.family, model.count_params() == info.params, trainable == info.trainable)
print(list(plain_net.plain_net(features=True).output))
"""
    assert run_python(check, tmp_path).splitlines() == ["plain_net True True", "['stage1', 'stage2', 'stage3']"]


def test_a_network_of_ones_own_is_trained_and_used_by_its_name(run_python, tmp_path, small_npz):
    check = f"""
assert model.output_shape == (None, 5)
run = cifar_zoo.fit_cifar10("own_net", epochs=1, batch_size=100, data={str(small_npz)!r}, verbose=0)
again = cifar_zoo.create_model("own_net", weights=run.directory / "model.weights.h5")
print(cifar_zoo.evaluate(again, {str(small_npz)!r})["accuracy"] == run.metrics["test_accuracy"])
print(list(cifar_zoo.create_model("own_net", features=True).output))
"""
    assert run_python(OWN_NETWORK + check, tmp_path).splitlines() == ["True", "['stage1', 'stage2']"]


def test_the_layer_scales_and_is_saved(run_python, tmp_path):
    check = """
import numpy as np
model = keras.Sequential([keras.Input((3,)), ScaleByConstant(2.5)])
model.save("model.keras")
x = np.arange(6, dtype="float32").reshape(2, 3)
print(np.array_equal(keras.saving.load_model("model.keras").predict(x, verbose=0), 2.5 * x))
"""
    assert run_python(LAYER + check, tmp_path).strip() == "True"


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=shlex.join)
def test_every_command_exists(words):
    words = [word for word in words if not re.fullmatch("[A-Z_]+=.*", word)]  # environment variables
    for word in words:
        if re.fullmatch(r"[\w./]+(\.py|/run)|tests/\w+", word):
            assert (ROOT / word).exists()
    if words and words[0] == "cifar-zoo":
        help_text = CliRunner().invoke(commands, [words[1], "--help"]).output
        for option in (word for word in words[2:] if word.startswith("--")):
            assert option in help_text
