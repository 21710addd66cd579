"""What is recorded about a run."""

from cifar_zoo.backend.environment import without_paths


def test_paths_stay_at_home():
    words = ["cifar-zoo", "fit", "nin0", "--run-dir", "/home/me/my runs", "--epochs", "3", "--data=../cifar10.npz"]
    assert without_paths([*words, "--seed", "1", "--set", "l2=0 ", "--run-dir"]) == (
        "cifar-zoo fit nin0 --epochs 3 --seed 1 --set 'l2=0 '"
    )
