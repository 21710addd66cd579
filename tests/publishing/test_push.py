"""One network in a repository of its own: to a local hub with huggingface_hub, and from there."""

import json

import keras
import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub import ModelCard

import cifar_zoo
from cifar_zoo import CifarZooError, registry
from cifar_zoo.models import blocks
from cifar_zoo.publishing.publish import publish
from cifar_zoo.weights.manifest import manifest_path

TOKEN = "a token that may write"
X = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype="uint8")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the client's own uploads


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer(token=TOKEN, lfs="*.h5") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # read when it was imported
        monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path / "home"))
        yield server


def trunk(x):
    x = blocks.conv_bn_act(x, 8, 3, 2, "conv1")
    return {"stage1": x}


@pytest.fixture
def own_network(monkeypatch):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))  # so that no other test finds it

    @cifar_zoo.register_model("pushed_net")
    def pushed_net():
        """One convolution."""
        return cifar_zoo.Architecture(trunk)

    return pushed_net


def rounded(model):
    """The network with the float16 weights that are stored."""
    for variable in model.variables:
        variable.assign(keras.ops.cast(keras.ops.cast(variable, "float16"), variable.dtype))
    return model.predict(X[:, : model.input_shape[1], : model.input_shape[2]], verbose=0)


def test_a_network_comes_back_as_it_was(hub):
    keras.utils.set_random_seed(0)
    model = cifar_zoo.models.squeeze1(classes=4, input_shape=(28, 28, 3))
    address = cifar_zoo.push_to_hub(model, "me/mine", class_names=["a", "b", "c", "d"], license="mit")
    assert address.startswith("hf://me/mine@") and set(hub.files("me/mine")) == {
        "model.weights.h5",
        "cifar_zoo.json",
        "README.md",
    }
    card = ModelCard(hub.files("me/mine")["README.md"].decode())
    assert card.data.library_name == "keras" and card.data.license == "mit" and "Classes: a, b, c, d." in card.text
    expected = rounded(model)
    for which in ("hf://me/mine", address):
        found = cifar_zoo.create_model(which)
        assert found.name == "squeeze1" and found.output_shape == (None, 4)
        np.testing.assert_allclose(found.predict(X[:, :28, :28], verbose=0), expected, atol=1e-6)
    trunk = cifar_zoo.create_model("hf://me/mine", include_top=False, pooling="avg")  # with other options
    assert trunk.output_shape[-1] == cifar_zoo.models.squeeze1(include_top=False, pooling="avg").output_shape[-1]
    # The file was downloaded once, and comes from the cache since then, also for a later commit that has the same.
    cifar_zoo.push_to_hub(model, "me/mine", class_names=["d", "c", "b", "a"])
    cifar_zoo.create_model("hf://me/mine")
    assert len(hub.requests("GET", "*model.weights.h5")) == 1


def test_networks_of_ones_own_are_pushed_under_their_registered_name(hub, own_network):
    model = own_network(name="another_name")
    with pytest.raises(CifarZooError, match="there is no network 'another_name'"):
        cifar_zoo.push_to_hub(model, "me/own")
    cifar_zoo.push_to_hub(model, "me/own", network="pushed_net")
    expected = rounded(model)
    np.testing.assert_allclose(cifar_zoo.create_model("hf://me/own").predict(X, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(own_network(weights="hf://me/own").predict(X, verbose=0), expected, atol=1e-6)


def test_an_old_commit_stays_what_it_was(hub):
    first, second = (cifar_zoo.models.squeeze1(classes=2) for _ in range(2))
    old = cifar_zoo.push_to_hub(first, "me/mine")
    cifar_zoo.push_to_hub(second, "me/mine")
    for address, model in ((old, first), ("hf://me/mine@main", second)):
        found = cifar_zoo.create_model(address).predict(X[:, :24, :24], verbose=0)
        np.testing.assert_allclose(found, rounded(model), atol=1e-6)


def test_weights_of_a_published_zoo(hub, tmp_path):
    import shutil

    manifest = {"squeeze1": json.loads(manifest_path().read_text())["squeeze1"]}
    shutil.copytree(manifest_path().parent / "weights" / "squeeze1", tmp_path / "weights" / "squeeze1")
    for entry in manifest["squeeze1"].values():
        entry.update(repository=None, revision=None)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    publish("org/zoo", tmp_path / "weights", tmp_path / "manifest.json")
    expected = cifar_zoo.models.squeeze1(weights="cifar10").predict(X[:, :24, :24], verbose=0)
    for weights in ("hf://org/zoo", "hf://org/zoo/zoo", "hf://org/zoo@main"):
        found = cifar_zoo.models.squeeze1(weights=weights).predict(X[:, :24, :24], verbose=0)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(CifarZooError, match=r"there is hf://org/zoo/zoo$"):
        cifar_zoo.models.squeeze1(weights="hf://org/zoo/other")
    with pytest.raises(CifarZooError, match=r"does not name one weights file of resnet20; there is no model"):
        cifar_zoo.models.resnet20(weights="hf://org/zoo")
    with pytest.raises(
        CifarZooError, match=r"has no cifar_zoo.json.*create_model\(\"resnet20\", weights=\"hf://org/zoo"
    ):
        cifar_zoo.create_model("hf://org/zoo")


@pytest.mark.parametrize(
    "address", ["hf://", "hf://me", "hf://me/../x", "hf://me/mine/a/b", "hf://me/mine@", "hf://me/mi ne", "hf:///mine"]
)
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(CifarZooError, match="is no address of the form hf://ORG/NAME"):
        cifar_zoo.create_model(address)
    with pytest.raises(CifarZooError, match="is no address of the form hf://ORG/NAME"):
        cifar_zoo.models.squeeze1(weights=address)


def test_what_is_not_there_or_not_allowed_is_said(hub, monkeypatch):
    with pytest.raises(CifarZooError, match=r"hf://me/nothing cannot be read at http://127"):
        cifar_zoo.create_model("hf://me/nothing")
    cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(), "me/mine")
    with pytest.raises(CifarZooError, match=r"its revision 'v9' does not exist"):
        cifar_zoo.create_model("hf://me/mine@v9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CifarZooError, match="HF_HUB_OFFLINE forbids it"):
        cifar_zoo.create_model("hf://me/mine")


@pytest.mark.parametrize(
    "config",
    [
        b"{",
        b"[]",
        b'{"network": "squeeze1"}',
        b'{"network": "squeeze1", "classes": true, "input_shape": [24, 24, 3], "class_names": null}',
        b'{"network": "squeeze1", "classes": 2, "input_shape": [24, 24], "class_names": ["a", "b"]}',
        b'{"network": "squeeze1", "classes": 2, "input_shape": [24, 24, 3], "class_names": ["a"]}',
        b'{"network": ["x"], "classes": 2, "input_shape": [24, 24, 3], "class_names": null}',
        b"[" * 100_000,
    ],
)
def test_damaged_descriptions_are_refused(hub, config):
    hub.add("me/mine", {"cifar_zoo.json": config, "model.weights.h5": b"nothing"})
    with pytest.raises(CifarZooError, match=r"cifar_zoo.json is damaged|cifar_zoo.json has") as error:
        cifar_zoo.create_model("hf://me/mine")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "network, options",
    [
        ("squeeze1", {"classes": 10**9}),
        ("squeeze1", {"classes": 2**62}),
        ("tuto", {"input_shape": [20_000, 20_000, 3]}),  # whose dense layers are of the images' size
        ("senet154", {}),
    ],
)
def test_a_description_that_claims_more_weights_than_there_are_is_refused_before_the_network_is_built(
    hub, network, options
):
    config = {"network": network, "classes": 10, "input_shape": [32, 32, 3], "class_names": None, **options}
    hub.add("me/mine", {"cifar_zoo.json": json.dumps(config).encode(), "model.weights.h5": bytes(1000)})
    with pytest.raises(CifarZooError, match=r"has [\d,]+ weights, and the weights file there has only 1,000 bytes"):
        cifar_zoo.create_model("hf://me/mine")


def test_files_that_are_no_weights_are_read_as_those_of_a_stranger(hub):
    config = {"network": "squeeze1", "classes": 10, "input_shape": [24, 24, 3], "class_names": None}
    hub.add("me/mine", {"cifar_zoo.json": json.dumps(config).encode(), "model.weights.h5": b"PK" * 100_000})
    with pytest.raises(CifarZooError, match=r"\.weights\.h5"):
        cifar_zoo.create_model("hf://me/mine")


def test_a_download_that_goes_wrong_is_repeated(hub):
    cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(), "me/mine")
    hub.fault("GET", "*model.weights.h5", "flip", times=1)
    assert cifar_zoo.create_model("hf://me/mine").name == "squeeze1"


@pytest.mark.parametrize("repo_id", ["mine", "hf://me/mine", "me/mine/zoo", "", None, "me/mine@main"])
def test_repositories_that_cannot_be(repo_id):
    with pytest.raises(CifarZooError, match=r"repo_id must be ORG/NAME|is no address"):
        cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(), repo_id)


def test_models_that_no_constructor_has_built_are_refused(hub):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)], name="squeeze1")
    with pytest.raises(CifarZooError, match=r"are not those of the registered network 'squeeze1'|squeeze1 cannot be"):
        cifar_zoo.push_to_hub(model, "me/mine")
    with pytest.raises(CifarZooError, match=r"class_names must be a list of 10 strings"):
        cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(), "me/mine", class_names=["a"])


def test_the_commands_take_an_address(hub, zoo, tmp_path):
    from PIL import Image

    cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(weights="cifar10"), "me/mine")
    Image.fromarray(X[0]).save(tmp_path / "image.png")
    done = zoo("predict", "hf://me/mine", tmp_path / "image.png", "--json")
    assert done.returncode == 0, done.stderr
    cifar_zoo.export("hf://me/mine", tmp_path / "net.onnx")
    assert (
        cifar_zoo.predict(tmp_path / "net.onnx", [X[0]])[0]["classes"][0]["class"]
        == (cifar_zoo.predict("hf://me/mine", [X[0]])[0]["classes"][0]["class"])
    )
    (expected,) = cifar_zoo.predict("squeeze1", [X[0]])
    assert json.loads(done.stdout)[0]["classes"][0]["class"] == expected["classes"][0]["class"]


def test_the_cache_names_repository_and_commit(hub, zoo, tmp_path):
    """Also of a repository with the usual characters, and what is damaged since."""
    addresses = [cifar_zoo.push_to_hub(cifar_zoo.models.squeeze1(), name) for name in ("me/mine", "an-org/a.b_c-d")]
    for address in addresses:
        cifar_zoo.create_model(address.partition("@")[0])
    kept = sorted((tmp_path / "home" / "weights").iterdir(), key=lambda path: path.name.startswith("an-org"))
    for names in ((), ("squeeze1",)):
        rows = json.loads(zoo("cache", *names, "--json").stdout)
        assert {row["address"]: row["path"] for row in rows} == dict(zip(addresses, map(str, kept), strict=True))
        assert all(row["problem"] is None for row in rows)
    assert json.loads(zoo("cache", "nin", "--json").stdout) == []
    content = bytearray(kept[0].read_bytes())
    content[-1] ^= 1
    kept[0].write_bytes(content)
    second, first, _ = zoo("cache").stdout.splitlines()
    assert second.split() == [f"{kept[1].stat().st_size:,}", str(kept[1]), "ok", addresses[1]]
    assert first.startswith(f"{len(content):12,}  {kept[0]}  has another hash than") and first.endswith(addresses[0])
    cifar_zoo.create_model("hf://me/mine")  # downloaded again
    assert [row["problem"] for row in json.loads(zoo("cache", "--json").stdout)] == [None, None]
    assert zoo("cache", "squeeze1", "--clear").stdout.count("removed  hf://") == 2
    assert not list((tmp_path / "home" / "weights").iterdir())
