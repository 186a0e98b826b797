"""The catalogue of bad inputs: what is given to the command line, and what its answer must say.

``{name}`` in an argument stands for a file of :mod:`world`; ``{toml}`` for one with the case's own ``toml`` in it, and
``{records}`` for a results folder that holds the case's ``record`` between two good ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BENCH = ("bench", "{suite}", "--dry-run")
HUGE = "9" * 5000
"""More digits than Python turns into a number."""
LONG = "x" * 300
"""More than a file's name may have."""


@dataclass(frozen=True)
class BadInput:
    """One bad input."""

    title: str
    arguments: tuple[str, ...]
    said: tuple[str, ...]
    """What the message must hold: what was given, or what to do."""
    exit_code: int = 2
    toml: str | None = None
    record: str | None = None
    usage: bool = False
    """Refused while the command line is parsed: the message has a frame and the usage with it."""
    env: dict[str, str | None] = field(default_factory=dict)


def _flag(title: str, *flags: str, said: str | tuple[str, ...]) -> BadInput:
    return BadInput(title, (*BENCH, *flags), said if isinstance(said, tuple) else (said,))


def _dataset(title: str, spec: str, *said: str) -> BadInput:
    return BadInput(f"dataset: {title}", (*BENCH, "--dataset", spec), said)


def _suite(title: str, toml: str, *said: str) -> BadInput:
    return BadInput(f"suite file: {title}", ("bench", "{toml}", "--dry-run"), ("{toml}", *said), toml=toml)


def _record(title: str, record: str, *said: str) -> BadInput:
    return BadInput(
        f"records: {title}", ("report", "{records}"), ("{records}", "not a resbench record", *said), record=record
    )


def _usage(title: str, *arguments: str, said: str) -> BadInput:
    return BadInput(title, arguments, (said,), usage=True)


BUDGETS = [
    _flag("budget: no unit", "--budget", "5", said=("'5' has no unit", "26ep")),
    _flag("budget: no number", "--budget", "ep", said="cannot read the budget 'ep'"),
    _flag("budget: nothing", "--budget", "0ep", said="'0ep' is not more than zero"),
    _flag("budget: less than nothing", "--budget", "-1ep", said="'-1ep' is not more than zero"),
    _flag("budget: not a number", "--budget", "nanep", said="'nanep'"),
    _flag("budget: endless", "--budget", "1e999ep", said="'1e999ep' is more than any training"),
    _flag("budget: 5000 digits", "--budget", f"{HUGE}ep", said="more than any training"),
    _flag("budget: an empty variable", "--budget", "", said="cannot read the budget ''"),
    _flag("input: an empty variable", "--input", "", said="cannot read the input ''"),
    _flag("input: too large", "--input", "3x100000x100000", said="no side is longer than 99,999 pixels"),
    _flag("trial timeout: none", "--trial-timeout", "0s", said=("'0s'", "no trial could end well")),
    _flag("budget: unknown unit", "--budget", "10parsecs", said="the unit 'parsecs'"),
    _flag("budget: less than a step", "--budget", "7img", said=("7img", "takes 8img")),
]

NAMES = [
    _flag("models: unknown", "--models", "resnt34", said=("'resnt34'", "Did you mean resnet34")),
    _flag("models: a wildcard that matches none", "--models", "vgg*", said="'vgg*'"),
    _flag("models: none", "--models", ",", said="'models'"),
    _flag("models: a path", "--models", "../../x", said="'../../x'"),
    _flag("models: a path in a library", "--models", "timm:../../x", said="'timm:../../x'"),
    _flag(
        "models: a wildcard that matches none in a library",
        "--models",
        "timm:vgh9*",
        said=("'timm:vgh9*'", "timm:vgg19"),
    ),
    _flag("models: terminal colours", "--models", "\x1b[31mred", said="'\\x1b[31mred'"),
    _flag("models: not of torchvision", "--models", "torchvision:resnt18", said="Did you mean torchvision:resnet18"),
    _flag("stem: of patches", "--models", "torchvision:vit_b_32", "--stem", "cifar", said=("patches", "'source'")),
    _flag("input: too small for a network", "--models", "torchvision:inception_v3", said="--input 3x224x224"),
    _flag("stem: unknown", "--stem", "cfar", said=("'cfar'", "Did you mean cifar")),
    _flag("recipe: unknown", "--recipe", "comon", said=("'comon'", "Did you mean common")),
    _flag("precision: unknown", "--precision", "fp12", said="'fp12'"),
    _flag("device: unknown", "--device", "gpu", said="'gpu'"),
    _flag("device: no number", "--device", "cuda:x", said="'cuda:x'"),
    _flag("compile: unknown", "--compile", "maybe", said="'maybe'"),
    _flag("cuda graph: unknown", "--cuda-graph", "maybe", said="'maybe'"),
    _flag("cuda graph: on a processor", "--cuda-graph", "on", said="only CUDA has graphs"),
    _flag("memory format: unknown", "--memory-format", "nhwc", said="'nhwc'"),
]

SIZES = [
    _flag("input: two sides", "--input", "32x32", said=("'32x32'", "3x224x224")),
    _flag("input: no side", "--input", "3x0x32", said="'3x0x32'"),
    _flag("input: 5000 digits", "--input", f"3x{HUGE}x3", said="cannot read the input '3x999"),
    _flag("input: channels that the images have not", "--input", "2x32x32", said=("2x32x32", "Give 3x32x32")),
    _flag("batch size: more than there are images", "--batch-size", "33", said=("33", "(32 images)")),
    _flag("seeds: more than anybody runs", "--seeds", "99999999999999999999", said="'seeds' is 99999999999999999999"),
    _usage("batch size: a word", "bench", "--batch-size", "many", said="batch-size"),
    _usage("batch size: none", "bench", "--batch-size", "0", said="batch-size"),
    _usage("seeds: none", "bench", "--seeds", "0", said="seeds"),
]

DATASETS = [
    _dataset("unknown", "cifar11", "'cifar11'", "Did you mean cifar10"),
    _dataset("no path", "folder:", "'folder:'", "folder:PATH"),
    _dataset("one list of two", "filelist:a.txt", "'filelist:a.txt'", "TRAIN.txt,TEST.txt"),
    _dataset("a folder that is not there", "folder:{nowhere}", "{nowhere}", "train/<class>/"),
    _dataset("a user that is not there", "folder:~nobody-here/x", "'~nobody-here/x'"),
    _dataset("a name too long for a file", f"folder:{LONG}", "File name too long"),
    _dataset("no test split", "folder:{no_test}", "{no_test}", "no test/"),
    _dataset("splits with other classes", "folder:{other_classes}", "only in train: dog", "only in test: wolf"),
    _dataset("a class without images", "folder:{empty_class}", "{empty_class}", "no images"),
    _dataset("a broken image", "folder:{broken_image}", "{broken_image}", "Replace the file"),
    _dataset("a page that is no image", "folder:{page_image}", "{page_image}", "cannot read the image"),
    _dataset("a deep image", "folder:{deep_image}", "{deep_image}", "more than 8 bits"),
    _dataset("images of other sizes", "folder:{mixed_sizes}", "{mixed_sizes}", "8x8", "9x9", "--input"),
    _dataset("an image that is a bomb", "folder:{bomb}", "{bomb}", "decompression bomb"),
    _dataset("an image that is a pipe", "folder:{pipe}", "{pipe}", "not a regular file"),
    _dataset("an image that is a link to nothing", "folder:{dangling}", "{dangling}", "No such file"),
    _dataset("lists that are not there", "filelist:{nowhere},{nowhere}", "cannot read the list", "{nowhere}"),
    _dataset("a line without a label", "filelist:{no_label},{no_label}", "{no_label}:1", "no label in 'a.png'"),
    _dataset("a line without a file", "filelist:{no_file},{no_file}", "{no_file}:1", "b.png"),
    _dataset("a negative label", "filelist:{negative},{negative}", "{negative}:1", "-1 is negative"),
    _dataset("labels of two kinds", "filelist:{two_kinds},{two_kinds}", "{two_kinds}:2", "numbers or words"),
    _dataset("lists that are no text", "filelist:{binary},{binary}", "{binary}", "not UTF-8"),
    BadInput(
        "dataset: neither there nor downloadable",
        (*BENCH, "--dataset", "cifar10", "--data-dir", "{nowhere}"),
        ("cifar10 cannot be read", "{nowhere}", "no network in tests"),
    ),
    BadInput(
        "dataset: files that are not the originals",
        (*BENCH, "--dataset", "fashion_mnist", "--data-dir", "{damaged}"),
        ("fashion_mnist cannot be read", "{damaged}", "remove files there that are damaged"),
    ),
    BadInput(
        "data folder: a user that is not there",
        (*BENCH, "--dataset", "cifar10", "--data-dir", "~nobody-here/x"),
        ("'~nobody-here/x'",),
    ),
]

WEIGHTS = [
    _flag(
        "weights: for no model that takes them", "--weights", "{pickle}", said=("{pickle}", "none of cnn takes weights")
    ),
    *(
        _flag(f"weights: {title}", "--models", "resnet152", "--weights", given, said=said)
        for title, given, said in (
            ("not there", "{nowhere}", ("{nowhere}", "does not exist")),
            ("a folder", "{tiny}", ("{tiny}", "does not exist")),
            ("a user that is not there", "~nobody-here/x.pt", ("'~nobody-here/x.pt'",)),
            ("a pickle that runs code", "{pickle}", ("{pickle}", "was refused")),
            ("damaged", "{damaged_weights}", ("{damaged_weights}", "was refused")),
            ("something else", "{other_weights}", ("{other_weights}", "does not hold a state dict")),
            ("another network's", "{wrong_weights}", ("not those of torchvision's resnet152", "is missing")),
        )
    ),
]

GOOD = "models = ['cnn']\n"

SUITES = [
    BadInput("suite: unknown", ("bench", "smokey"), ("'smokey'", "Did you mean smoke")),
    BadInput("suite: no name", ("bench", "", "--dry-run"), ("''",)),
    BadInput("suite: a path", ("bench", "../../etc/passwd"), ("'../../etc/passwd'",)),
    BadInput("suite: a name too long for a file", ("bench", LONG), (LONG,)),
    BadInput("suite: a file that is not there", ("bench", "{nowhere}.toml"), ("{nowhere}.toml", "No such file")),
    BadInput("suite: a folder", ("bench", "{folder_toml}"), ("{folder_toml}", "Is a directory")),
    BadInput("suite: a user that is not there", ("bench", "~nobody-here/x.toml"), ("'~nobody-here/x.toml'",)),
    BadInput("suite: no text", ("bench", "{binary_toml}"), ("{binary_toml}", "not valid TOML")),
    _suite("not TOML", "models = [", "not valid TOML"),
    _suite("brackets without end", "models = " + "[" * 3000, "not valid TOML"),
    _suite("5000 digits", GOOD + f"seeds = {HUGE}", "not valid TOML"),
    _suite("nothing in it", "", "'models' is missing"),
    _suite("no models", "models = []", "'models' is missing or empty"),
    _suite("unknown key", GOOD + "budgett = '2ep'", "'budgett'", "did you mean 'budget'"),
    _suite("a key of the other table", GOOD + "device = 'cpu'", "'device'", "belongs below [engine]"),
    _suite("unknown key of [engine]", GOOD + "[engine]\nprecison = 'fp32'", "'engine.precison'"),
    _suite("no table", GOOD + "engine = 'fast'", "'engine' is 'fast'", "a table"),
    _suite("a number as text", GOOD + "batch_size = '64'", "'batch_size' is '64'"),
    _suite("no seeds", GOOD + "seeds = []", "'seeds' is []"),
    _suite("a seed twice", GOOD + "seeds = [1, 1]", "[1, 1]", "only once"),
    _suite("a seed that no generator takes", GOOD + "seeds = [99999999999999999999]", "99999999999999999999"),
    *(
        _suite(f"a name that is {title}", f'name = "{name}"\n{GOOD}', "'name' is", "names the results folder")
        for title, name in (
            ("a way out", "../../x"),
            ("a path", "/tmp/x"),
            ("empty", ""),
            ("too long for a file", LONG),
            ("a NUL", "a\\u0000b"),
            ("a command to the terminal", "\\u001b[31mred"),
            ("right to left", "\\u202Etxt"),
        )
    ),
    BadInput(
        "suite file: a dataset with a NUL",
        ("bench", "{toml}", "--dry-run"),
        ("NUL", "'a\\x00b'"),
        toml=GOOD + 'dataset = "filelist:a\\u0000b,c"',
    ),
]

FOLDERS = [
    BadInput("out: a file", ("bench", "{suite}", "--out", "{binary}"), ("{binary}", "--out")),
    BadInput("out: below a file", ("bench", "{suite}", "--out", "{binary}/x"), ("{binary}/x", "--out")),
    BadInput("report: a folder that is not there", ("report", "{nowhere}"), ("{nowhere}", "no records.jsonl")),
    BadInput("report: a folder without records", ("report", "{tiny}"), ("{tiny}", "not a results folder")),
    BadInput("report: a name too long for a file", ("report", LONG), (LONG, "File name too long")),
    BadInput("report: no records yet", ("report", "{no_records}"), ("{no_records}", "holds no records"), 4),
    BadInput("report: no trial that ended ok", ("report", "{none_ok}"), ("{none_ok}", "no trial"), 4),
    BadInput("compare: a folder that is not there", ("compare", "{good}", "{nowhere}"), ("{nowhere}",)),
    BadInput("compare: no records yet", ("compare", "{good}", "{no_records}"), ("{no_records}",), 4),
    *(
        BadInput(f"compare: {title}", ("compare", "{good}", "{good}", "--threshold", given), said)
        for title, given, said in (
            ("an unknown threshold", "beauty=1", ("'beauty'", "accuracy")),
            ("a threshold that is no number", "accuracy=much", ("'accuracy=much'",)),
            ("a negative threshold", "throughput=-5%", ("'throughput=-5%'",)),
            ("a threshold twice", "accuracy=1,accuracy=2", ("'accuracy'", "twice")),
        )
    ),
]

RECORDS = [
    _record("no JSON", "not JSON", "line 2"),
    _record("no event", "[]", "line 2"),
    _record("an event without a name", '{"schema_version": 2, "event": []}', "line 2"),
    _record("no version", '{"event": "suite"}', "line 2"),
    _record("a version that never was", '{"schema_version": 0, "event": "x"}', "schema version 0"),
    _record("an endless version", '{"schema_version": 1e999, "event": "x"}', "line 2"),
    _record("brackets without end", '{"schema_version": 2, "event": "x", "y": ' + "[" * 100_000, "line 2"),
    BadInput(
        "records: of a newer resbench",
        ("report", "{records}"),
        ("{records}", "schema version 99", "newer resbench"),
        record='{"schema_version": 99, "event": "suite"}',
    ),
    *(
        _record(title, f'{{"schema_version": 2, {text}}}', said)
        for title, text, said in (
            ("a trial without an id", '"event": "trial"', "trial_id is missing"),
            ("a suite without trials", '"event": "suite"', "suite.trials is missing"),
            ("a suite of nothing", '"event": "suite", "trials": [{}]', "suite.trials.0.model is missing"),
            ("a suite without a name", '"event": "suite", "trials": [], "suite": {}', "name is missing"),
            ("a notice that is no text", '"event": "suite", "trials": [], "notices": [5]', "notices.0 is 5"),
            ("an epoch without steps", '"event": "epoch", "trial_id": "x"', "steps is missing"),
            ("an epoch of a word", '"event": "epoch", "trial_id": "x", "steps": "many"', "steps is 'many'"),
            ("a start of nothing", '"event": "start"', "start.trial is missing"),
            (
                "arms without trials",
                '"event": "suite", "trials": [], "arms": [{"name": "x"}]',
                "trial_ids is missing",
            ),
            ("inputs of another kind", '"event": "suite", "trials": [], "inputs": {"x": 1}', "suite.inputs.x is 1"),
            ("a training without steps", '"event": "training", "trial_id": "x"', "training.steps is missing"),
            ("a profile of a word", '"event": "profile", "macs": "many"', "profile.macs is 'many'"),
            (
                "a floor that is a word",
                '"event": "noise_floor", "relative": "small"',
                "relative is 'small'",
            ),
            (
                "a floor of words",
                '"event": "noise_floor", "relative": {"step_ms_p50": "x"}',
                "step_ms_p50 is 'x'",
            ),
            (
                "a floor without end",
                '"event": "noise_floor", "relative": {"step_ms_p50": NaN}',
                "step_ms_p50 is nan",
            ),
            (
                "a ruler without readings",
                '"event": "ruler", "device_name": "x", "ok": true, "precision": ""',
                "readings is",
            ),
            (
                "a window of words",
                '"event": "telemetry", "trial_id": "x", "seconds": "long"',
                "seconds is 'long'",
            ),
            ("hits that are not bits", '"event": "hits", "trial_id": "x", "images": 9, "bits": "!"', "hits"),
            ("hits of too few images", '"event": "hits", "trial_id": "x", "images": 9, "bits": "AA=="', "9 images"),
        )
    ),
    *(
        _record(
            f"a trial whose {title}", f'{{"schema_version": 2, "event": "trial", {{trial}}, "{key}": {value}}}', key
        )
        for title, key, value in (
            ("count is a word", "params", '"many"'),
            ("count has no end", "params", "1" + "0" * 30),
            ("accuracy is a word", "test_accuracy", '"high"'),
            ("accuracy has no end", "test_accuracy", "1e308"),
            ("status is none", "status", '"great"'),
            ("model is a number", "model", "5"),
            ("notes are a text", "notes", '"x"'),
        )
    ),
]

OTHERS = [
    BadInput("profile: unknown model", ("profile", "resnt34"), ("'resnt34'", "Did you mean resnet34")),
    BadInput("profile: unknown stem", ("profile", "cnn", "--stem", "cfar"), ("'cfar'",)),
    BadInput("profile: a batch of nothing", ("profile", "cnn", "--batch-size", "1,0"), ("'0'", "1,64,512")),
    BadInput("profile: a batch of a word", ("profile", "cnn", "--batch-size", "1,zero"), ("'zero'",)),
    BadInput("profile: a batch of 5000 digits", ("profile", "cnn", "--batch-size", HUGE), ("not a positive whole",)),
    BadInput("profile: an input of two sides", ("profile", "cnn", "--input", "32x32"), ("'32x32'",)),
    BadInput("profile: unknown device", ("profile", "cnn", "--device", "gpu"), ("'gpu'",)),
    BadInput("profile: out is a file", ("profile", "cnn", "--out", "{binary}"), ("{binary}", "--out")),
    BadInput("list: no such model", ("list", "vgg*"), ("'vgg*'",)),
    BadInput("list: no such network in a library", ("list", "timm:vgh9*"), ("'timm:vgh9*'", "resbench list 'timm:*'")),
    BadInput(
        "env: a cache of a user that is not there", ("env",), ("~nobody-here",), env={"RESBENCH_CACHE": "~nobody-here"}
    ),
    _usage("profile: no classes", "profile", "--num-classes", "0", said="num-classes"),
    _usage("env: an argument", "env", "everything", said="everything"),
    _usage("compare: nothing to compare", "compare", said="base"),
    _usage("report: no folder", "report", said="folder"),
    _usage("an unknown command", "benhc", said="benhc"),
    _usage("an unknown flag", "bench", "--modles", "cnn", said="modles"),
]

BAD_INPUTS = [*BUDGETS, *NAMES, *SIZES, *DATASETS, *WEIGHTS, *SUITES, *FOLDERS, *RECORDS, *OTHERS]
