"""House rules: imports go down only, sizes are limited, importing has no effect."""

import ast
import graphlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.programs import ROOT, run_python

FOLDERS = (".", "model", "utils", "benchmarks")
# From the bottom up. A folder may import itself, those beside it and those below, in no circle.
# A module that stands in another row than its folder is named by itself.
LAYERS = [
    ("utils", "utils.datasets", "model.contract", "model.devices", "model.names", "model.ranks"),
    ("model.layers", "utils.tracking", "utils.media", "utils.metrics"),
    ("utils.media.audio_streams", "utils.media.audio", "utils.media.video"),
    ("utils.datasets.synthetic", "utils.datasets.storage"),
    ("model.checkpoints", "model.layers.video_backbones", "model.localizers"),
    ("utils.output", "utils.people"),
    ("utils.datasets.talkset", "utils.datasets.face_pictures", "utils.datasets.columbia"),
    ("model.networks", "model.detectors", "model.embedders", "model"),
    ("utils.arrays", "utils.datasets.custom"),
    ("utils.report",),
    ("model.scoring", "utils.features", "utils.demo_options", "utils.analysis"),
    ("utils.datasets.tragic_talkers", "utils.datasets.pairings", "utils.datasets.loading"),
    ("utils.datasets.ava", "model.evaluation"),
    ("utils.datasets.splits",),
    ("utils.training_options",),
    ("model.families",),
    ("talkNet", "model.training"),
    ("model.shipped", "model.arrays", "model.export", "utils.batch", "utils.server"),
    ("demoTalkNet", "trainTalkNet", "Columbia_test"),
    ("benchmarks",),
]
LEVELS = {place: level for level, places in enumerate(LAYERS) for place in places}
PUBLISHED = {"talkNet", "demoTalkNet", "trainTalkNet", "model.contract", "utils.structures"}
OPENED_BY_NAME = (
    *("model.networks", "model.detectors", "model.embedders", "model.families"),
    "utils.features",
)


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Return all modules of the project by name."""
    found = (
        path
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
    )
    return {module_name(path): path for path in sorted(found)}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def walk(block: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements of a block, those inside others too, but no expressions."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        parts = getattr(block, name, [])
        for statement in parts if isinstance(parts, list) else []:
            yield statement
            yield from walk(statement)


@cache
def statements(module: str) -> tuple[ast.AST, ...]:
    return tuple(walk(tree(module)))


def place(module: str) -> str:
    """Return the entry of LAYERS for a module: its own or that of its folder."""
    if module in LEVELS or modules()[module].name == "__init__.py":
        return module
    return module.rpartition(".")[0]


def imported(module: str, found: tuple[ast.AST, ...]) -> Iterator[str]:
    """Yield our own modules that nodes name in imports."""
    for node in found:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules() else node.module for name in whole]
        else:
            continue
        yield from (name for name in names if name in modules() and name != module)


@cache
def imports(module: str) -> frozenset[str]:
    """Return our own modules that a module imports, inside functions too."""
    return frozenset(imported(module, statements(module)))


@cache
def imports_at_once(module: str) -> frozenset[str]:
    """Return our own modules that importing a module imports, and the packages they are in."""
    names = set(imported(module, tuple(tree(module).body)))
    return frozenset(names | {name.rpartition(".")[0] for name in names} & modules().keys())


def faults(check: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return the findings of a check by module."""
    return {module: found for module in modules() if (found := check(module))}


def num_lines(function: ast.FunctionDef) -> int:
    """Lines of code of a function, its docstring not counted."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:] or body
    return int(body[-1].end_lineno or 0) - body[0].lineno + 1


def num_arguments(function: ast.FunctionDef) -> int:
    arguments = function.args.args + function.args.kwonlyargs
    return sum(argument.arg not in ("self", "cls") for argument in arguments)


def test_every_folder_has_its_place() -> None:
    assert {place(module) for module in modules()} - LEVELS.keys() == set()
    folders = {name.rpartition(".")[0] for name in modules()}
    assert LEVELS.keys() - folders - modules().keys() == set()


def test_published_import_paths_stay() -> None:
    assert {*PUBLISHED, "utils.metrics.average_precision"} - modules().keys() == set()


def test_imports_go_down_only() -> None:
    def upward(module: str) -> list[str]:
        level = LEVELS[place(module)]
        return [name for name in sorted(imports(module)) if LEVELS[place(name)] > level]

    assert faults(upward) == {}


def test_no_module_and_no_folder_imports_itself_in_a_circle() -> None:
    graph = {module: imports(module) for module in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises if there is a circle
    folders: dict[str, set[str]] = {}
    for module, names in graph.items():
        own = place(module)
        folders.setdefault(own, set()).update({place(name) for name in names} - {own})
    graphlib.TopologicalSorter(folders).prepare()


def test_sizes() -> None:
    def too_large(module: str) -> list[str]:
        length = len(modules()[module].read_text(encoding="utf-8").splitlines())
        functions = [node for node in statements(module) if isinstance(node, ast.FunctionDef)]
        return [f"{length} lines"] * (length > 300) + [
            function.name
            for function in functions
            if num_lines(function) > (60 if function.name == "__init__" else 40)
            or num_arguments(function) > 6
        ]

    assert faults(too_large) == {}


def test_nothing_forbidden() -> None:
    texts = (".cuda()", "import *", "os.system(", "shell=True", "weights_only=False")
    kinds = ast.Call | ast.ImportFrom

    def forbidden(module: str) -> list[str]:
        source = modules()[module].read_text(encoding="utf-8")
        found = ["global" for node in statements(module) if isinstance(node, ast.Global)]
        if any(text in source for text in texts):  # else there is no need to look closer
            code = [ast.unparse(node) for node in ast.walk(tree(module)) if isinstance(node, kinds)]
            found += [text for text in texts if any(text in line for line in code)]
        return found

    assert faults(forbidden) == {}


@cache
def network_kinds() -> frozenset[str]:
    """Return the names of the kinds of networks and of the networks of each kind."""
    found = {"Model"}  # their base class, which is taken out again
    for module in ("model.contract", *modules()):
        if module.startswith(("model.contract", "model.networks.", "model.localizers.")):
            found |= {
                node.name
                for node in tree(module).body
                if isinstance(node, ast.ClassDef)
                and {ast.unparse(one) for one in node.bases} & found
            }
    return frozenset(found - {"Model"})


def test_only_families_and_networks_ask_for_the_kind_of_a_network() -> None:
    """Elsewhere a family does what differs, so that a new kind is one new family."""
    assert {"Network", "ClipNetwork", "ContextNetwork", "Localizer", "TalkNet"} <= network_kinds()

    def asking(module: str) -> list[str]:
        source = modules()[module].read_text(encoding="utf-8")
        exempt = module.startswith(("model.families", "model.networks"))
        if exempt or not any(name in source for name in ("isinstance(", "issubclass(")):
            return []
        return [
            ast.unparse(node)
            for node in ast.walk(tree(module))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("isinstance", "issubclass")
            and set(re.findall(r"\w+", ast.unparse(node.args[1]))) & network_kinds()
        ]

    assert faults(asking) == {}


def named(node: ast.expr | None) -> set[str]:
    """Return the exceptions that an `except` or a `raise` names."""
    if node is None:
        return {"everything"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {ast.unparse(part.func if isinstance(part, ast.Call) else part) for part in parts}


def test_errors_have_a_type_of_their_own() -> None:
    """Raised types state the cause, and no `except` is too broad."""
    everything = {"everything", "Exception", "BaseException"}
    untyped = {"RuntimeError", "OSError", "Exception"}

    def without_type(module: str) -> list[str]:
        found = []
        for node in statements(module):
            if isinstance(node, ast.ExceptHandler):
                last = ast.unparse(node.body[-1])
                passed_on = last in (
                    "raise",
                    "return WorkerFailure.of(error)",
                )  # the main process raises it
                found += [] if passed_on else sorted(named(node.type) & everything)
            elif isinstance(node, ast.Raise) and node.exc:
                found += [] if place(module) == "benchmarks" else sorted(named(node.exc) & untyped)
        return found

    assert faults(without_type) == {}


def test_no_two_classes_share_a_name() -> None:
    """Checked over all folders, the tests' too, and for classes inside functions as well."""
    found = [(module, statements(module)) for module in modules()]
    for path in (ROOT / "tests").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "class " in source:  # else there is no need to look closer
            found.append((module_name(path), tuple(walk(ast.parse(source)))))
    places: dict[str, list[str]] = {}
    for module, nodes in found:
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_utils_never_imports_model() -> None:
    def above(module: str) -> list[str]:
        return [name for name in sorted(imports(module)) if not name.startswith("utils")]

    assert {name: found for name, found in faults(above).items() if name.startswith("utils")} == {}


def test_inference_reads_no_data_sets() -> None:
    """Neither commands nor networks import data sets when they are imported."""
    waiting = ["talkNet", "demoTalkNet"]
    waiting += [name for name in modules() if name.startswith(OPENED_BY_NAME)]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports_at_once(module)
    assert "model.scoring.windows" in seen
    assert sorted(name for name in seen if name.startswith("utils.datasets")) == []


def test_commands_start_without_heavy_imports() -> None:
    heavy = ("torch", "scipy", "PIL")
    code = (
        "import sys, demoTalkNet, trainTalkNet;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert run_python("-c", code).stdout.strip() == "[]"
