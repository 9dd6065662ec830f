"""The house keeps its rules: imports go down only, sizes stay small, importing has no effect."""

import ast
import graphlib
from pathlib import Path

import pytest

from tests.programs import ROOT, run_python

MODULES = sorted(
    path
    for folder in (".", "model", "utils", "benchmarks")
    for path in (ROOT / folder).glob("**/*.py" if folder != "." else "*.py")
)
# From the bottom up. A module may import modules of lower layers only; the first match counts.
# The parts of one folder in SHARED may build on each other, as long as there is no circle.
SHARED = ("utils.datasets", "model.layers", "model", "benchmarks")
LAYERS = [
    ("utils.structures", "utils.errors"),
    ("utils.files",),
    (
        "utils.media.orientation",
        "utils.media.tone_mapping",
        "utils.flags",
        "utils.progress",
        "utils.media.packet_times",
        "utils.downloads",
    ),
    ("utils.commands",),
    ("utils.arrays.spectra",),
    ("utils.media.channel_mix", "utils.media.voicing"),
    ("utils.smoothing", "utils.metrics.f1", "utils.model_options", "utils.datasets.entities"),
    (
        "utils.arrays.geometry",
        "utils.arrays.sound",
        "utils.arrays.speech_positions",
        "utils.arrays.line_plot",
    ),
    ("utils.training_options", "utils.progress"),
    ("utils.arrays.fusion", "utils.arrays.srp_phat"),
    (
        "utils.metrics",
        "utils.features",
        "utils.media.container",
        "utils.output.overlay",
        "utils.tracking.crop_geometry",
    ),
    ("utils.media.decoding", "utils.media.sound_sample"),
    ("utils.media.sound_choice",),
    (
        "utils.media.source_frames",
        "utils.media.sound_pieces",
        "utils.output.results",
        "utils.tracking.track_files",
        "utils.tracking.tracks",
    ),
    ("utils.output.render_sound",),
    (
        "utils.media.video",
        "utils.media.audio",
        "utils.tracking.shots",
        "utils.tracking.crops",
        "utils.output.render",
    ),
    ("utils.arrays.video",),
    ("utils.output.exports", "utils.output.timeline", "utils.output.official_tree"),
    ("utils.output.write_outputs", "utils.datasets"),
    ("utils.training_options", "utils.demo_options"),
    ("model.contract", "model.layers", "model.checkpoints.keras"),
    ("model.checkpoints.files",),
    ("model.networks", "model.detectors", "model.localizers"),
    ("model.checkpoints.build",),
    ("model.checkpoints.registry",),
    ("model",),
    ("talkNet",),
    ("demoTalkNet", "trainTalkNet"),
    ("benchmarks",),
]


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    for level, prefixes in enumerate(LAYERS):
        if any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes):
            return level
    return -1


def imports(tree: ast.AST) -> set[str]:
    """Return our own modules that the code names in imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {module_name(path) for path in MODULES}
            found |= {name for name in whole if name in known} or {node.module}
    return {name for name in found if layer(name) >= 0}


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def num_lines(function: ast.FunctionDef) -> int:
    """Lines of code of a function, its docstring not counted."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:] or body
    return int(body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down_only(path: Path) -> None:
    module = module_name(path)
    level = layer(module)
    shared = any(prefix in LAYERS[level] for prefix in SHARED) if level >= 0 else False
    upward = {
        name
        for name in imports(ast.parse(path.read_text()))
        if layer(name) > level or (layer(name) == level and not shared and name != module)
    }
    assert path.name == "__init__.py" or upward == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module_name(path): imports(ast.parse(path.read_text())) for path in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises where there is a circle


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for function in functions(ast.parse(text)):
        limit = 60 if function.name == "__init__" else 40
        assert num_lines(function) <= limit, function.name
        arguments = [
            argument.arg
            for argument in function.args.args + function.args.kwonlyargs
            if argument.arg not in ("self", "cls")
        ]
        assert len(arguments) <= 6, function.name


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_forbidden(path: Path) -> None:
    names = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call | ast.Global | ast.ImportFrom | ast.ExceptHandler)
    }
    joined = "\n".join(names)
    for forbidden in (".cuda()", "import *", "os.system(", "shell=True", "weights_only=False"):
        assert forbidden not in joined
    assert not any(name.startswith("global ") for name in names)


def named(node: ast.expr | None) -> set[str]:
    """Return the exceptions that an `except` or a `raise` names."""
    if node is None:
        return {"everything"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {ast.unparse(part.func if isinstance(part, ast.Call) else part) for part in parts}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_errors_have_a_type_of_their_own(path: Path) -> None:
    """What is raised says whose fault it is, and no `except` takes one fault for another."""
    module = module_name(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            last = ast.unparse(node.body[-1])
            passed_on = last in ("raise", "return Failure.of(error)")  # the main process raises it
            assert passed_on or not named(node.type) & {"everything", "Exception", "BaseException"}
        elif isinstance(node, ast.Raise) and node.exc:
            untyped = {"RuntimeError", "OSError", "Exception"}
            assert module.startswith("benchmarks") or not named(node.exc) & untyped


def test_utils_never_imports_model() -> None:
    for path in (ROOT / "utils").glob("**/*.py"):
        assert not any(name.startswith("model") for name in imports(ast.parse(path.read_text())))


@pytest.mark.parametrize("command", ["demoTalkNet", "trainTalkNet"])
def test_commands_start_without_heavy_imports(command: str) -> None:
    heavy = ("torch", "scipy", "PIL")
    code = f"import sys, {command}; print([m for m in {heavy} if m in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"
