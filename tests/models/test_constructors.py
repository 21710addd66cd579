"""Constructors show their options, to people, editors and type checkers."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import cifar_zoo
from cifar_zoo.registry import Constructor, Options

ROOT = Path(__file__).resolve().parents[2]
every_network = pytest.mark.parametrize("name", cifar_zoo.list_models())


@every_network
def test_the_signature_shows_every_option_with_its_default(name):
    info = cifar_zoo.model_info(name)
    parameters = inspect.signature(info.build).parameters
    assert {option: parameter.default for option, parameter in parameters.items()} == {
        "weights": None,
        "include_top": True,
        "input_shape": info.input_shape,
        "pooling": None,
        "classes": 10,
        "classifier_activation": "softmax",
        "include_preprocessing": True,
        "features": False,
        "name": name,
    }
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {option: parameter.annotation for option, parameter in parameters.items()} == Options.__annotations__


@every_network
def test_the_docstring_explains_every_option(name):
    info = cifar_zoo.model_info(name)
    text = inspect.getdoc(info.build)
    summary, *_ = text.splitlines()
    assert summary == info.summary
    sections = ["\nArgs:\n", "\nReturns:\n", "\nRaises:\n", f"\nReference: {info.paper}"]
    places = [text.index(section) for section in sections]
    assert places == sorted(places)
    for option in inspect.signature(info.build).parameters:
        assert f"\n    {option}: " in text[places[0] : places[1]]


@every_network
def test_a_constructor_is_a_function_of_its_module(name):
    build = cifar_zoo.model_info(name).build
    assert (build.__name__, build.__qualname__) == (name, name)
    assert build.__module__ == f"cifar_zoo.models.{cifar_zoo.model_info(name).family}"
    assert pickle.loads(pickle.dumps(build)) is build
    assert f"def {name}() -> Architecture:" in inspect.getsource(build)


def test_the_options_have_one_list():
    explicit = dict(inspect.signature(Constructor.__call__).parameters)
    del explicit["self"]
    assert {option: parameter.annotation for option, parameter in explicit.items()} == Options.__annotations__


def test_options_are_keywords():
    with pytest.raises(TypeError, match="positional argument"):
        cifar_zoo.models.resnet20("cifar10")


def test_without_docstrings_it_works_too():
    code = "import cifar_zoo; print(len(cifar_zoo.list_models()), repr(cifar_zoo.model_info('nin').summary))"
    for flag, summary in (("-O", "'Network in network"), ("-OO", "''")):
        done = subprocess.run([sys.executable, flag, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.startswith(f"{len(cifar_zoo.list_models())} {summary}"), done.stderr


def test_type_checkers_know_the_options(tmp_path):
    pytest.importorskip("mypy")
    lines = {
        "cifar_zoo.models.resnet20(weights='cifar10', classes=5, input_shape=(None, None, 1), pooling='avg')": "",
        "cifar_zoo.create_model('resnet20', features=True)": "",
        "cifar_zoo.models.resnet20(clases=5)": 'Unexpected keyword argument "clases"',
        "cifar_zoo.models.resnet20(classes='5')": 'expected "int"',
        "cifar_zoo.models.resnet20(pooling='mean')": 'expected "Literal',
        "cifar_zoo.models.resnet20('cifar10')": "positional argument",
        "cifar_zoo.create_model('resnet20', clases=5)": 'Unexpected keyword argument "clases"',
    }
    (tmp_path / "use.py").write_text("import cifar_zoo\n" + "\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "use.py")]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    for number, (line, error) in enumerate(lines.items(), start=2):
        told = [message for message in found.splitlines() if f"use.py:{number}: error:" in message]
        assert len(told) == bool(error), (line, found)
        assert error in "".join(told), (line, found)
