"""The registry of networks."""

import pytest

import cifar_zoo
from cifar_zoo import registry


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
