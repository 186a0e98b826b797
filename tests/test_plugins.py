"""A user's own networks: where they come from, and what is said where their code is at fault."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_trials import Make, planner, run
from tiny_folder import make_tiny_folder
from user_code import HEADER, LINEAR, builder, forgetting, write

from resbench import registry
from resbench.errors import InputError, ModelError
from resbench.plugins import bundle_of, code_of, import_code, load_installed, specs_of, with_code
from resbench.registry import create_model, list_models, model_entry
from resbench.source_files import source_digest, source_files


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forgets what a test imports."""
    with forgetting():
        yield


def told(specs: list[str]) -> list[str]:
    return [str(fault) for fault in import_code(specs)]


class TestWhereNetworksComeFrom:
    def test_from_a_file_by_its_path(self, tmp_path):
        path = write(tmp_path / "my_nets.py", builder("mine", LINEAR))
        assert told([str(path)]) == []
        assert "mine" in list_models()
        assert create_model("mine", num_classes=7)(torch.zeros(2, 3, 8, 8)).shape == (2, 7)
        entry = model_entry("mine")
        assert (entry.source, entry.summary) == ("mine", "A network of mine.")
        assert code_of(entry) == f"my_nets.py {source_digest(path, 'my_nets')[:12]}"
        assert specs_of([entry, entry]) == (str(path),)

    def test_from_a_file_that_imports_one_beside_it(self, tmp_path):
        write(tmp_path / "mine_below.py", "\ndef net(channels, classes):\n    return nn.Conv2d(channels, classes, 1)\n")
        path = write(tmp_path / "mine_above.py", builder("mine", "__import__('mine_below').net(in_channels, 4)"))
        assert told([str(path)]) == []
        assert isinstance(create_model("mine"), torch.nn.Conv2d)

    def test_from_a_relative_path_and_from_home(self, tmp_path, monkeypatch):
        write(tmp_path / "my_nets.py", builder("mine"))
        write(tmp_path / "other_nets.py", builder("other"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert told(["my_nets.py", "~/other_nets.py"]) == []
        assert {"mine", "other"} <= set(list_models())
        assert Path(specs_of([model_entry("mine")])[0]).is_absolute()  # another process may be elsewhere

    @pytest.mark.parametrize("spec", ["my_package.nets", "my_package", "./my_package"])
    def test_from_a_package_in_the_current_folder(self, tmp_path, monkeypatch, spec):
        write(tmp_path / "my_package" / "__init__.py", "\nfrom my_package import nets\n")
        write(tmp_path / "my_package" / "nets.py", builder("mine"))
        monkeypatch.chdir(tmp_path)
        assert told([spec]) == []
        entry = model_entry("mine")
        assert specs_of([entry]) == (f"{tmp_path}/my_package.nets",)  # another process may be elsewhere
        assert code_of(entry).startswith("my_package.nets ")

    def test_from_an_installed_package(self, tmp_path, monkeypatch):
        write(tmp_path / "their_nets.py", builder("theirs"))
        info = tmp_path / "their_nets-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-nets\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[resbench.models]\nnets = their_nets\ngone = their_gone\n")
        monkeypatch.syspath_prepend(tmp_path)
        from resbench import plugins

        plugins._ASKED.clear()
        assert "theirs" in list_models()  # nothing was asked to be imported
        (fault,) = registry.faults()
        assert str(fault).startswith("entry point gone = their_gone: cannot be imported: ModuleNotFoundError")
        load_installed()
        assert len(registry.faults()) == 1  # once a process

    def test_what_is_installed_beside_a_module_is_none_of_it(self, tmp_path, monkeypatch):
        place = tmp_path / "site-packages"
        write(place / "their_nets.py", "import large, json\n", builder("theirs"))
        (place / "large.py").write_text("")
        monkeypatch.syspath_prepend(place)
        importlib.import_module("their_nets")
        entry = model_entry("theirs")
        assert source_files(place / "their_nets.py", "their_nets") == [place / "their_nets.py"]
        assert specs_of([entry]) == ("their_nets",)  # a cluster's nodes have it, or are refused

    def test_a_library_of_networks_of_ones_own(self, tmp_path):
        lookup = """
from resbench.libraries import register_library
from resbench.registry import ModelEntry

@register_library("zoo", names=lambda: ["ape", "bear"])
def zoo(name):
    return ModelEntry(f"zoo:{name}", "a zoo", "", lambda **options: nn.Flatten())
"""
        path = write(tmp_path / "zoo_nets.py", lookup)
        assert told([str(path)]) == []
        assert list_models("zoo:*") == ["zoo:ape", "zoo:bear"]
        entry = model_entry("zoo:ape")
        assert code_of(entry) == f"zoo_nets.py {source_digest(path, 'zoo_nets')[:12]}"
        assert specs_of([entry, model_entry("zoo:bear")]) == (str(path),)

    def test_what_was_imported_already_stays_as_it_was(self, tmp_path, monkeypatch):
        path = write(tmp_path / "my_nets.py", builder("mine"))
        monkeypatch.syspath_prepend(tmp_path)
        import my_nets

        entry = model_entry("mine")
        assert told([str(path), str(path), "my_nets"]) == []
        assert model_entry("mine") is entry
        assert sys.modules["my_nets"] is my_nets

    def test_a_file_whose_name_a_module_has_is_imported_beside_it(self, tmp_path):
        path = write(tmp_path / "json.py", builder("mine"))
        import json

        assert told([str(path)]) == []
        assert "mine" in list_models()
        assert sys.modules["json"] is json

    def test_resbenchs_own_and_a_librarys_have_no_code_of_a_user(self):
        assert code_of(model_entry("resnet34")) is None
        assert specs_of([model_entry("resnet34")]) == ()

    def test_what_was_typed_into_a_session_is_refused_with_advice(self):
        exec(compile(HEADER + builder("typed"), "<stdin>", "exec"), {"__name__": "__main__"})
        with pytest.raises(InputError, match=r"'typed' was registered in a notebook .* --import my_nets\.py"):
            code_of(model_entry("typed"))


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x = 1 / 0\n", "nets.py:4: cannot be imported: ZeroDivisionError: division by zero"),
            ("def x(:\n", "nets.py:4: cannot be imported: SyntaxError"),
            ("import not_there_at_all\n", "nets.py:4: cannot be imported: ModuleNotFoundError: No module named"),
            ("raise SystemExit(3)\n", "nets.py:4: cannot be imported: SystemExit: 3"),
            ("raise ValueError('\\x1b[2J')\n", r"nets.py:4: cannot be imported: ValueError: \x1b[2J"),
            ("import json; json.loads('{')\n", "nets.py:4: cannot be imported: JSONDecodeError"),
            ("x = 1\n", "registers no network: decorate a builder"),
            (builder("resnet50")[1:], "nets.py:4: model 'resnet50' is already registered"),
            (builder("a:b")[1:].replace("def a:b", "def ab"), "nets.py:4: the model name 'a:b' has a colon"),
            (
                "resbench.register_model('few', source='x')(lambda *, num_classes: None)\n",
                "nets.py:4: the builder of model 'few' must take the keywords in_channels, num_classes, stem and need",
            ),
        ],
    )
    def test_an_error_names_file_and_line_and_other_networks_are_there(self, tmp_path, text, said):
        bad = write(tmp_path / "nets.py", "\n", text)
        good = write(tmp_path / "good_nets.py", builder("good"))
        (fault,) = told([str(bad), str(good)])
        assert said in fault
        assert fault.startswith(("nets.py:4", str(bad)))
        assert "good" in list_models()

    @pytest.mark.parametrize("second", ["b/nets_b.py", "b/pkg"])
    def test_two_modules_of_one_name_are_told_apart(self, tmp_path, second):
        for folder in ("a", "b"):
            write(tmp_path / folder / "pkg" / "__init__.py", "from . import low\n", builder(f"of_package_{folder}"))
            (tmp_path / folder / "pkg" / "low.py").write_text("")
            write(tmp_path / folder / f"nets_{folder}.py", "import pkg\n", builder(f"of_{folder}"))
        assert told([str(tmp_path / "a" / "nets_a.py")]) == []
        (fault,) = told([str(tmp_path / second)])
        there, here = (tmp_path / folder / "pkg" / "__init__.py" for folder in ("a", "b"))
        assert f"cannot be imported: ImportError: pkg is {there} in this process, and not {here}. Rename" in fault
        assert {"of_a", "of_package_a"} <= set(list_models())
        assert not {"of_b", "of_package_b"} & set(list_models())

    def test_a_module_of_pythons_own_is_not_replaced(self, tmp_path):
        (tmp_path / "json.py").write_text("")
        (fault,) = told([str(write(tmp_path / "nets.py", "import json\n", builder("mine")))])
        assert f"json/__init__.py in this process, and not {tmp_path / 'json.py'}" in fault

    def test_what_a_file_registers_beside_its_fault_is_there(self, tmp_path):
        path = write(tmp_path / "nets.py", builder("before"), builder("resnet50"), builder("after"), "\n1 / 0\n")
        assert len(told([str(path)])) == 2
        assert {"before", "after"} <= set(list_models())
        assert model_entry("resnet50").origin is None

    def test_a_taken_name_is_an_error_at_once_where_it_is_not_resbench_that_imports(self, tmp_path, monkeypatch):
        write(tmp_path / "loud_nets.py", builder("resnet50"))
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(registry.DuplicateModelError, match="'resnet50' is already registered"):
            import loud_nets  # noqa: F401

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("gone.py", r"there is no file 'gone\.py' to import\."),
            ("gone/nets.py", r"there is no file 'gone/nets\.py'"),
            ("gone.nets", r"there is no module 'gone\.nets' to import\. Give"),
            ("no name", "there is no module 'no name'"),
            ("here/gone", "there is no file 'here/gone' to import"),
        ],
    )
    def test_code_that_is_not_there_is_refused(self, tmp_path, monkeypatch, spec, said):
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "here" / "there.py", builder("mine"))
        with pytest.raises(InputError, match=said):
            import_code([spec])

    def test_a_package_that_fails_above_the_module_is_a_fault(self, tmp_path, monkeypatch):
        write(tmp_path / "my_broken" / "__init__.py", "\n1 / 0\n")
        write(tmp_path / "my_broken" / "nets.py", builder("mine"))
        monkeypatch.chdir(tmp_path)
        assert told(["my_broken.nets"]) == ["__init__.py:4: cannot be imported: ZeroDivisionError: division by zero"]

    def test_what_is_no_network_is_refused_with_its_line(self, tmp_path):
        import_code([str(write(tmp_path / "nets.py", builder("odd", "'a text'")))])
        with pytest.raises(ModelError, match=r"'odd' \(nets\.py:4\) is no network: its builder returned 'str'"):
            create_model("odd")


class TestOtherProcesses:
    def test_a_job_is_wrapped_where_its_network_needs_code_and_only_there(self, tmp_path):
        path = write(tmp_path / "nets.py", builder("mine"))
        import_code([str(path)])
        heard: list[object] = []
        job, arguments = with_code(["mine", "resnet34"], lambda *given: heard.extend(given[:-1]), (1, 2))
        with forgetting():
            registry._ENTRIES.pop("mine")
            del sys.modules["nets"]
            job(*arguments, print)
            assert "mine" in list_models()  # as in a process that had not imported it
        assert heard == [1, 2]
        assert with_code(["resnet34"], print, (1,)) == (print, (1,))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Plans a trial of a tiny folder."""
    return planner(make_tiny_folder(tmp_path_factory.mktemp("data") / "shades"))


class TestBundles:
    def test_hold_a_file_and_what_it_imports_and_are_imported_elsewhere(self, tmp_path, tmp_path_factory):
        path = write(tmp_path / "nets.py", "import low_nets\n", builder("mine"))
        write(tmp_path / "low_nets.py")
        import_code([str(path)])
        entry = model_entry("mine")
        assert_moved(specs_of([entry])[0], entry, tmp_path_factory.mktemp("there"), {"nets.py", "low_nets.py"})

    @pytest.mark.parametrize("spec", ["pack.nets", "pack"])
    def test_hold_a_packages_files(self, tmp_path, tmp_path_factory, monkeypatch, spec):
        write(tmp_path / "pack" / "__init__.py", builder("other"), "\nfrom pack import nets\n")
        write(tmp_path / "pack" / "nets.py", "from . import low\n", builder("mine"))
        write(tmp_path / "pack" / "low.py")
        write(tmp_path / "pack" / "never.py")
        monkeypatch.chdir(tmp_path)
        import_code([spec])
        entry = model_entry("mine" if spec == "pack.nets" else "other")
        files = {"pack/__init__.py", "pack/nets.py", "pack/low.py"}
        assert_moved(specs_of([entry])[0], entry, tmp_path_factory.mktemp("there"), files)

    def test_an_installed_module_is_not_sent(self):
        assert bundle_of("their.nets") is None


def assert_moved(spec: str, entry: registry.ModelEntry, there: Path, files: set[str]) -> None:
    """Sends what a spec means elsewhere and imports it there, where it has the same digest."""
    bundle = bundle_of(spec)
    assert bundle is not None
    assert {path.relative_to(bundle.root).as_posix() for path in bundle.files} == files
    code = code_of(entry)
    for path in bundle.files:
        target = there / path.relative_to(bundle.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    with forgetting():
        for name in [name for name in registry._ENTRIES if name in ("mine", "other")]:
            del registry._ENTRIES[name]
        for name in [name for name in sys.modules if name.split(".")[0] in ("nets", "low_nets", "pack")]:
            del sys.modules[name]
        sys.path[:] = [place for place in sys.path if place not in ("", str(bundle.root))]
        assert import_code([str(there / bundle.spec)]) == []
        moved = model_entry(entry.name)
        assert moved.origin is not None
        assert moved.origin.file.is_relative_to(there)
        assert code_of(moved) == code


class TestTrial:
    def test_of_code_that_was_edited_since_it_was_planned_does_not_run(self, tmp_path, make):
        path = write(tmp_path / "nets.py", builder("mine", LINEAR))
        import_code([str(path)])
        planned = code_of(model_entry("mine"))
        path.write_text(path.read_text() + "# edited\n")
        record, _ = run(make(model="mine", code=planned))
        assert record.status == "not_run"
        assert f"the code of model 'mine' (nets.py:4) has changed since this trial was planned: it was {planned}" in (
            record.error
        )

    def test_of_the_wrong_shape_names_the_line_that_registered_it(self, tmp_path, make, capsys):
        import_code([str(write(tmp_path / "nets.py", builder("conv", "nn.Conv2d(in_channels, num_classes, 1)")))])
        record, _ = run(make(model="conv"))
        assert (record.status, record.phase) == ("crashed", "build")
        assert "model 'conv' (nets.py:4) gives torch.float32 (2, 2, 8, 8) for two images" in record.error
        assert "logits (2, 2) are wanted" in record.error
        capsys.readouterr()
