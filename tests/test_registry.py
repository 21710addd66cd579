"""The registry of networks."""

import doctest

import pytest

import cifar_zoo
from cifar_zoo import Architecture, CifarZooError, registry


def test_patterns_select():
    assert cifar_zoo.list_models("resnet*") == [
        "resnet18",
        "resnet20",
        "resnet32",
        "resnet44",
        "resnet50",
        "resnet56",
        "resnet110",
    ]
    assert cifar_zoo.list_models("alex?") == ["alex0", "alex1", "alex2", "alex3", "alex4"]
    assert cifar_zoo.list_models("nothing*") == []
    assert set(cifar_zoo.list_models(pretrained=True)) <= set(cifar_zoo.list_models())


def test_facts():
    info = cifar_zoo.model_info("squeeze1")
    assert (info.family, info.input_shape, info.params) == ("sandbox", (24, 24, 3), 146_570)
    assert info.summary.startswith("A SqueezeNet")


@pytest.mark.parametrize("call", [cifar_zoo.model_info, cifar_zoo.create_model])
def test_a_wrong_name_is_answered_with_the_nearest(call):
    with pytest.raises(cifar_zoo.CifarZooError, match="no network 'resnet21'; did you mean .*resnet20"):
        call("resnet21")


def test_a_second_network_of_the_same_name_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    def resnet20():
        """Another one."""

    with pytest.raises(ValueError, match="two networks are called 'resnet20'"):
        registry.register_model(paper="none", params=1)(resnet20)


class Provider:
    """Weights for one network."""

    def __init__(self):
        self.loaded = []

    def loadable_tags(self, name):
        return ["zoo"] if name == "nin0" else []

    def check_pretrained(self, name, weights):
        if weights not in self.loadable_tags(name):
            raise CifarZooError(f"{name} has no weights {weights!r}")

    def load_pretrained(self, model, spec, weights):
        self.loaded.append((model.name, spec, weights))


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setattr(registry, "_weights", None)
    registry.set_weights_provider(Provider())
    return registry._weights


def test_only_what_can_be_loaded_is_pretrained(provider):
    assert cifar_zoo.list_models(pretrained=True) == ["nin0"]
    assert cifar_zoo.list_models("resnet*", pretrained=True) == []


def test_weights_that_do_not_exist_are_refused_before_the_network_is_built(provider, monkeypatch):
    monkeypatch.setattr(Architecture, "build", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(CifarZooError, match="^resnet20 has no weights 'zoo'"):
        cifar_zoo.models.resnet20(weights="zoo")


def test_weights_are_looked_up_by_the_specification(provider):
    model = cifar_zoo.models.nin0(weights="zoo", name="other")
    cifar_zoo.models.nin0()
    assert provider.loaded == [("other", cifar_zoo.model_info("nin0"), "zoo")]
    assert model.name == "other"


def test_what_is_neither_published_nor_here_is_not_listed(monkeypatch, tmp_path):
    from cifar_zoo.weights import manifest, store

    here = cifar_zoo.list_models(pretrained=True)
    assert "squeeze1" in here
    entries = {
        name: {tag: entry.model_copy(update={"repository": None, "revision": None}) for tag, entry in tags.items()}
        for name, tags in manifest.read_manifest().items()
    }
    monkeypatch.setattr(store, "read_manifest", lambda: entries)
    monkeypatch.setattr(store, "FOLDERS", ())
    monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path))
    assert cifar_zoo.list_models(pretrained=True) == []


def test_the_example_of_the_decorator(monkeypatch):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    result = doctest.testmod(registry)
    assert (result.failed, result.attempted) == (0, 5)
