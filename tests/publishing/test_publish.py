"""Publishing the staged folder with huggingface_hub to a local server, and downloading from there."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import yaml
from generated import examples
from hub_server import HubServer, Repository
from huggingface_hub import ModelCard, __version__, parse_eval_result_entries

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.publishing.card import check_card
from cifar_zoo.publishing.publish import publish
from cifar_zoo.weights.manifest import manifest_path, parse_manifest

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(cifar_zoo.__file__).parent
NETWORKS = ("resnet20", "squeeze1")
REPOSITORY = "org/zoo"
TOKEN = "a token that may write"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the client's own uploads


@pytest.fixture
def hub(monkeypatch):
    with HubServer(token=TOKEN, lfs="*.h5") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # read when it was imported
        yield server


@pytest.fixture
def staged(tmp_path):
    """Two networks that are staged and not published: the folder and its manifest."""
    manifest = {name: json.loads(manifest_path().read_text())[name] for name in NETWORKS}
    for name, tags in manifest.items():
        shutil.copytree(ROOT / "weights" / name, tmp_path / "weights" / name)
        for entry in tags.values():
            entry.update(repository=None, revision=None)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "weights", tmp_path / "manifest.json"


def entries(manifest):
    return [entry for tags in parse_manifest(manifest).values() for entry in tags.values()]


def check_published(hub, staged):
    """The head has every staged file to the byte, and the manifest names the head."""
    weights, manifest = staged
    found = hub.files(REPOSITORY)
    for path in weights.rglob("*.*"):
        assert found[path.relative_to(weights).as_posix()] == path.read_bytes()
    head = hub.repositories[REPOSITORY].refs["main"]
    assert {(entry.repository, entry.revision) for entry in entries(manifest)} == {(REPOSITORY, head)}
    return head


def commits(hub):
    return len(hub.repositories[REPOSITORY].commits) - 1  # an empty one comes with the repository


def test_publish_again_and_after_a_change(hub, staged):
    weights, manifest = staged
    done = publish(REPOSITORY, *staged)
    assert check_published(hub, staged) == done.revision and set(done.changed) == done.files.keys()
    assert {path: len(content) for path, content in hub.files(REPOSITORY).items()} == done.files
    assert not hub.repositories[REPOSITORY].private

    before = manifest.read_bytes()
    hub.clear()
    again = publish(REPOSITORY, *staged)
    assert again.revision == done.revision and again.changed == () and commits(hub) == 1
    assert manifest.read_bytes() == before and not hub.requests("PUT") and not hub.requests("POST", "*commit*")

    card = weights / "squeeze1" / "zoo" / "README.md"
    card.write_text(card.read_text() + "\nMore about it.\n")
    changed = publish(REPOSITORY, *staged)
    assert changed.changed == ("squeeze1/zoo/README.md",) and commits(hub) == 2 and not hub.requests("PUT")
    assert check_published(hub, staged) == changed.revision != done.revision


def test_what_else_the_repository_has_stays(hub, staged):
    hub.add(REPOSITORY, {".gitattributes": b"*.h5 filter=lfs", "README.md": b"an old one"})
    publish(REPOSITORY, *staged)
    check_published(hub, staged)
    assert hub.files(REPOSITORY)[".gitattributes"] == b"*.h5 filter=lfs"
    assert hub.files(REPOSITORY)["README.md"] != b"an old one"


def test_cards_and_results_are_in_the_hubs_formats(hub, staged):
    publish(REPOSITORY, *staged)
    found = {
        path: content.decode() for path, content in hub.files(REPOSITORY).items() if path.endswith((".md", ".yaml"))
    }
    manifest = parse_manifest(staged[1])
    for name in NETWORKS:
        for tag, entry in manifest[name].items():
            data = ModelCard(found[f"{name}/{tag}/README.md"]).data
            assert (data.library_name, data.license, data.pipeline_tag) == ("keras", "mit", "image-classification")
            (result,) = data.eval_results
            assert (data.model_name, result.metric_type, result.metric_value) == (name, "accuracy", entry.test_accuracy)
            assert (result.dataset_type, result.dataset_split) == ("uoft-cs/cifar10", "test")
            (result,) = parse_eval_result_entries(yaml.safe_load(found[f".eval_results/{name}.{tag}.yaml"]))
            assert (result.dataset_id, result.value) == ("uoft-cs/cifar10", entry.test_accuracy)
            assert f"| {entry.params:,} | {entry.test_accuracy:.2%} |" in found["README.md"]
    front = yaml.safe_load(found["README.md"].split("---\n")[1])
    assert front["library_name"] == "keras"
    assert {network["name"]: network["results"][0]["metrics"][0]["value"] for network in front["model-index"]} == {
        f"{name}.{tag}": entry.test_accuracy for name in NETWORKS for tag, entry in manifest[name].items()
    }


def test_private(hub, staged):
    publish(REPOSITORY, *staged, private=True)
    assert hub.repositories[REPOSITORY].private
    before = staged[1].read_bytes()
    hub.add("org/open", {})
    with pytest.raises(CifarZooError, match="org/open already exists and is public; make it private on the hub"):
        publish("org/open", *staged, private=True)
    assert hub.files("org/open") == {} and staged[1].read_bytes() == before


INTERRUPTIONS = {
    "create is refused": ("POST", "*/repos/create", "close"),
    "create is not answered": ("POST", "*/repos/create", "cut", 0),
    "no head": ("GET", "/api/models/org/zoo", "close"),
    "no list of what is there": ("GET", "*/tree/*", "cut", 0),
    "no check of the card": ("POST", "*/validate-yaml", "close"),
    "no preupload": ("POST", "*/preupload/*", "close"),
    "preupload fails": ("POST", "*/preupload/*", "status", 500),
    "preupload is not JSON": ("POST", "*/preupload/*", "flip"),
    "no place for the large files": ("POST", "*/objects/batch", "close"),
    "a large file is not taken": ("PUT", "/large/*", "status", 500),
    "a large file breaks off": ("PUT", "/large/*", "close"),
    "commit fails": ("POST", "*/commit/*", "status", 500),
    "commit is not made": ("POST", "*/commit/*", "close"),
    "commit is made and not told": ("POST", "*/commit/*", "cut", 0),
    "commit is told as something else": ("POST", "*/commit/*", "flip"),
    "commit cannot be checked": ("GET", "*/tree/*", "close"),
}


@pytest.mark.parametrize("what", INTERRUPTIONS)
def test_an_interrupted_upload_is_safe_to_repeat(hub, staged, monkeypatch, what):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client tries some requests again, after a while
    if what == "commit cannot be checked":
        hub.fault("GET", "*/tree/*", "slow", 0, times=1)  # the one before the commit goes through
    hub.fault(*INTERRUPTIONS[what])
    before = staged[1].read_bytes()
    with pytest.raises(CifarZooError, match=f"^{REPOSITORY} cannot be published at {hub.url}: .*again") as error:
        publish(REPOSITORY, *staged)
    assert TOKEN not in str(error.value) and staged[1].read_bytes() == before
    hub.clear()
    publish(REPOSITORY, *staged)
    check_published(hub, staged)
    assert commits(hub) == 1


@pytest.mark.parametrize(
    "status, message",
    [
        (401, "the token is not accepted; make one with write access at {url}/settings/tokens and set HF_TOKEN"),
        (403, "the token has no write access there"),
        (404, "the token cannot see the repository"),
        (412, "the repository was changed in the meantime; run the command again"),
        (413, "the hub does not accept files of this size"),
        ((429, {"Retry-After": "77"}), "too many requests; wait 77 seconds, then run"),
        (429, "wait some minutes, then run the command again"),
        (503, "the hub reports an internal error; run the command again later"),
        (418, "the hub refuses the request"),
    ],
)
def test_what_to_do_where_the_hub_refuses(hub, staged, status, message):
    hub.fault("POST", "*/commit/*", "status", status)
    before = staged[1].read_bytes()
    with pytest.raises(CifarZooError) as error:
        publish(REPOSITORY, *staged)
    assert message.format(url=hub.url) in str(error.value) and "\n" not in str(error.value)
    assert staged[1].read_bytes() == before


def test_a_wrong_token_no_token_and_no_hub(hub, staged, monkeypatch, tmp_path):
    with pytest.raises(CifarZooError, match="the token is not accepted"):
        publish(REPOSITORY, *staged, token="wrong")
    assert publish(REPOSITORY, *staged, token=f"{TOKEN}\n").revision
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(CifarZooError, match="^no token; make one with write access at .* and set HF_TOKEN to it"):
        publish(REPOSITORY, *staged)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CifarZooError, match="there is no response; check the network and HF_ENDPOINT"):
        publish(REPOSITORY, *staged, token=TOKEN)


@pytest.mark.parametrize("name, value", [("HF_ENDPOINT", "http://user:secret@host:port"), ("HF_ENDPOINT", "nowhere")])
def test_a_malformed_endpoint(hub, staged, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(CifarZooError, match="HF_ENDPOINT must be a URL such as https://huggingface.co, not ") as error:
        publish(REPOSITORY, *staged)
    assert "secret" not in str(error.value) and hub.log == []


def test_a_password_in_the_endpoint_is_not_shown(hub, staged, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//user:secret@"))
    with pytest.raises(CifarZooError, match="the token is not accepted") as error:  # the password takes its place
        publish(REPOSITORY, *staged)
    assert "secret" not in "".join(traceback.format_exception(error.value))
    hub.token = None
    done = publish(REPOSITORY, *staged)
    assert check_published(hub, staged) == done.revision


def test_a_hub_that_keeps_something_else_is_found_out(hub, staged, monkeypatch):
    keep = Repository.commit

    def damage(self, files, branch="main"):
        return keep(self, {path: data[:-1] + b"?" if path.endswith(".h5") else data for path, data in files.items()})

    monkeypatch.setattr(Repository, "commit", damage)
    before = staged[1].read_bytes()
    with pytest.raises(CifarZooError, match="differs from the uploaded files in resnet20/.*, squeeze1/.*"):
        publish(REPOSITORY, *staged)
    assert staged[1].read_bytes() == before
    monkeypatch.setattr(Repository, "commit", keep)
    publish(REPOSITORY, *staged)
    check_published(hub, staged)


def test_what_is_staged_meanwhile_is_not_taken_for_published(hub, staged):
    manifest = staged[1]
    content = json.loads(manifest.read_text())
    note = hub._note

    def stage_another(request):
        if request.path.endswith("/commit/main"):
            content["squeeze1"]["zoo"]["sha256"] = "0" * 64
            manifest.write_text(json.dumps(content))
        return note(request)

    hub._note = stage_another
    done = publish(REPOSITORY, *staged)
    found = parse_manifest(manifest)
    assert found["resnet20"]["zoo"].revision == done.revision
    assert found["squeeze1"]["zoo"].revision is None and found["squeeze1"]["zoo"].sha256 == "0" * 64


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def edit_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "squeeze1.zoo.weights.h5").write_bytes(b"1"), "has 1 bytes instead of 358,464 of"),
        (lambda folder: (folder / "golden.npz").unlink(), "squeeze1/zoo/golden.npz of the manifest is missing"),
        *[
            (
                lambda folder, name=name: (folder / name).write_bytes((folder / name).read_bytes() + b"\n"),
                f"squeeze1/zoo: {name} differs from the manifest; stage the run again",
            )
            for name in ("golden.npz", "config.json", "history.csv", "metrics.json")
        ],
        (lambda folder: (folder / "notes.txt").write_text("?"), "squeeze1/zoo/notes.txt is in no entry of"),
        (lambda folder: shutil.copytree(folder, folder.parent / "two"), "squeeze1/two/README.md, .* is in no entry"),
        (lambda folder: (folder / "link").symlink_to("/etc/hostname"), "link: is a link"),
        (lambda folder: edit_json(folder / "metrics.json", test_accuracy=0.99), "accuracy 0.99 is not the 0.8844"),
        (lambda folder: edit_json(folder / "config.json", secret="hf_" + 34 * "x"), "config.json: contains what looks"),
        (lambda folder: (folder / "README.md").write_text("# A card\n"), "README.md: must have library_name keras"),
        (lambda folder: (folder / "README.md").write_text("---\na: [\n---\n"), "README.md: its front matter cannot be"),
        (
            lambda folder: edit(folder / "README.md", "0.8844", "0.9"),
            "the accuracy 0.8844 of the manifest, not keras and 0.9; stage the run again",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_agree_with_the_manifest_is_refused(hub, staged, damage, message):
    damage(staged[0] / "squeeze1" / "zoo")
    before = staged[1].read_bytes()
    for dry_run in (True, False):
        with pytest.raises(CifarZooError, match=message):
            publish(REPOSITORY, *staged, dry_run=dry_run)
    assert hub.log == [] and staged[1].read_bytes() == before


def places(value, path=()):
    """The paths of all nodes in nested dicts and lists."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    """A copy of nested dicts and lists with another value at a path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def test_cards_with_values_of_other_types_are_refused_in_one_line(tmp_path):
    """Or accepted, where the field is not one that must agree with the manifest."""
    card = (ROOT / "weights" / "squeeze1" / "zoo" / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    entry = parse_manifest(manifest_path())["squeeze1"]["zoo"]
    value = yaml.safe_load(front)
    value |= {"eval_results": [{"metric_value": 0.8844}], "model_name": "squeeze1"}
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    )
    path = tmp_path / "README.md"
    seen = set()

    @examples(300)
    @hypothesis.given(st.sampled_from(list(places(value))), anything, st.booleans())
    def check(place, new, with_index):
        changed = replaced(value, place, new)
        if isinstance(changed, dict) and not with_index:
            changed.pop("model-index", None)
        path.write_text(f"---\n{yaml.safe_dump(changed)}---\n{text}")
        try:
            check_card(path, entry)
            seen.add("accepted")
        except CifarZooError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            seen.add("refused")

    check()
    assert seen == {"accepted", "refused"}


def test_hidden_files_stay_out(hub, staged):
    (staged[0] / ".env").write_text("SECRET=1")
    (staged[0] / ".cache").mkdir()
    (staged[0] / ".cache" / "file").write_text("?")
    publish(REPOSITORY, *staged)
    assert not {".env", ".cache/file"} & hub.files(REPOSITORY).keys()


@pytest.mark.parametrize("name", ["zoo", "org/zoo/more", "org/z o", "../zoo", ""])
def test_the_name_of_a_repository(hub, staged, name):
    with pytest.raises(CifarZooError, match="--repo-id"):
        publish(name, *staged)
    assert hub.log == []


def test_an_empty_manifest_or_no_folder_is_refused(tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    with pytest.raises(CifarZooError, match="the manifest is empty; stage a run"):
        publish(REPOSITORY, tmp_path, manifest)
    shutil.copyfile(manifest_path(), manifest)
    with pytest.raises(CifarZooError, match="there is no folder"):
        publish(REPOSITORY, tmp_path / "none", manifest)


def arguments(staged, *more):
    return ("publish", "--repo-id", REPOSITORY, "--weights", staged[0], "--manifest", staged[1], *more)


def test_the_command(zoo, hub, staged):
    before = staged[1].read_bytes()
    start = time.perf_counter()
    done = zoo(*arguments(staged, "--dry-run"), env={"HF_TOKEN": ""})
    assert time.perf_counter() - start < 20
    assert done.returncode == 0 and done.stderr == ""
    *lines, total = done.stdout.splitlines()
    listed = {path: int(size.replace(",", "")) for size, path in map(str.split, lines)}
    assert total == f"org/zoo would have {len(listed)} files, {sum(listed.values()):,} bytes; nothing was uploaded"
    for path in staged[0].rglob("*.*"):
        assert listed[path.relative_to(staged[0]).as_posix()] == path.stat().st_size
    assert hub.log == [] and staged[1].read_bytes() == before

    done = zoo(*arguments(staged))
    assert done.returncode == 0, done.stderr
    head = check_published(hub, staged)
    assert {path: len(content) for path, content in hub.files(REPOSITORY).items()} == listed
    assert done.stdout.splitlines()[0].startswith(f"org/zoo at {head}: {len(listed)} files, ")

    done = zoo(*arguments(staged, "--token", "wrong"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "the token is not accepted" in done.stderr and "Traceback" not in done.stderr


def test_killed_between_the_commit_and_the_manifest(hub, staged):
    hub.fault("GET", "*/tree/*", "slow", 0, times=1)
    hub.fault("GET", "*/tree/*", "slow", 60, times=1)
    before = staged[1].read_bytes()
    command = [sys.executable, "-m", "cifar_zoo", *map(str, arguments(staged))]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ)) as process:
        while len(hub.requests("GET", "*/tree/*")) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert commits(hub) == 1 and staged[1].read_bytes() == before
    hub.clear()
    assert publish(REPOSITORY, *staged).changed == ()
    check_published(hub, staged)
    assert commits(hub) == 1


@pytest.mark.full
def test_killed_at_any_moment(hub, staged, tmp_path):
    """The hub has the whole commit or nothing, the manifest is the old one or names it, and the next completes it."""
    before = staged[1].read_bytes()
    command = [sys.executable, "-m", "cifar_zoo", *map(str, arguments(staged))]
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    duration = time.monotonic() - started
    moments = set()
    for moment in np.sort(np.random.default_rng(0).uniform(0.3 * duration, 1.1 * duration, 20)):
        del hub.repositories[REPOSITORY]
        staged[1].write_bytes(before)
        with contextlib.suppress(subprocess.TimeoutExpired):  # after which it is killed
            subprocess.run(command, cwd=ROOT, capture_output=True, timeout=moment)
        made = commits(hub) if REPOSITORY in hub.repositories else 0
        written = staged[1].read_bytes() != before
        moments.add((made, written))
        if written:
            check_published(hub, staged)
        done = publish(REPOSITORY, *staged)
        assert check_published(hub, staged) == done.revision and commits(hub) == 1
        assert bool(done.changed) == (not made) and {path.name for path in tmp_path.iterdir()} <= {
            "weights", "manifest.json", "manifest.json.lock", ".manifest.json.lock",
        }  # fmt: skip
    assert (0, False) in moments and (1, True) in moments


REPRODUCE = """
import sys
import numpy as np
import cifar_zoo
from cifar_zoo.publishing.stage import logits

for name, golden in zip(sys.argv[1::2], sys.argv[2::2]):
    with np.load(golden) as known:
        np.testing.assert_allclose(logits(name, "cifar10", known["images"]), known["logits"], rtol=1e-4, atol=1e-4)
print(cifar_zoo.__file__)
"""


def test_a_user_gets_what_was_published(hub, staged, tmp_path):
    """An installation with the manifest and no weights, in a process of its own, with nothing downloaded before."""
    publish(REPOSITORY, *staged)
    installed = tmp_path / "site" / "cifar_zoo"
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    shutil.copyfile(staged[1], installed / "weights_manifest.json")
    golden = []
    for name in NETWORKS:
        file = tmp_path / f"{name}.npz"
        file.write_bytes(hub.files(REPOSITORY)[f"{name}/zoo/golden.npz"])
        golden += [name, str(file)]
    shutil.rmtree(staged[0])
    hub.clear()

    def reproduce():
        return subprocess.run(
            [sys.executable, "-c", REPRODUCE, *golden],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path]),
                 "CIFAR_ZOO_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")},
        )  # fmt: skip

    done = reproduce()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(installed / "__init__.py")
    assert len(hub.requests("GET", "*.h5")) == 2
    hub.clear()
    assert reproduce().returncode == 0 and hub.log == []  # from the cache


@pytest.mark.full
def test_with_the_other_major_version_of_the_client(tmp_path):
    """All of the above again, with huggingface_hub 1.x where 2.x is installed, and the other way round."""
    wanted = "==1.30.*" if __version__.startswith("2.") else ">=2"
    folder = tmp_path / "client"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, f"huggingface_hub{wanted}"], check=True
    )
    env = {**os.environ, "PYTHONPATH": str(folder)}
    version = subprocess.run(
        [sys.executable, "-c", "import huggingface_hub; print(huggingface_hub.__version__)"],
        capture_output=True, text=True, check=True, env=env,
    ).stdout  # fmt: skip
    assert version.split(".")[0] != __version__.split(".")[0]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "0", __file__],
        capture_output=True, text=True, cwd=ROOT, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
