"""Times us and the peers that are there, one after the other, and prints a table of ratios.

Every peer is optional: the OpenFHE wheel by the Python it is installed in, poulpy-ckks by the program in `poulpy/`. Lines of
JSON, as each program prints them, go to --lines if it is given.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
US = "aphelion"


def measure(name, command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
    print(f"# {name}, {threads} threads", file=sys.stderr)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{name} failed: {' '.join(command)}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--log-n", type=int, choices=(14, 15, 16), default=16)
    arguments.add_argument("--threads", default="1,2", help="comma-separated")
    arguments.add_argument("--op", default="rotate,mul_cc_relin_rescale", help="comma-separated; `all` for every one of ours")
    arguments.add_argument("--aphelion", default="target/release/aphelion")
    arguments.add_argument("--openfhe-python", help="python that has the openfhe wheel")
    arguments.add_argument("--poulpy", help="the program built in benches/peers/poulpy")
    arguments.add_argument("--lines", help="file for the measurements as JSON lines")
    options = arguments.parse_args()

    lines = []
    for threads in map(int, options.threads.split(",")):
        ours = [options.aphelion, "bench", "primitives", "--log-n", str(options.log_n), "--threads", str(threads), "--quiet"]
        if options.op != "all":
            ours += ["--op", options.op]
        lines += measure(US, ours, threads)
        if options.openfhe_python:
            script = [options.openfhe_python, str(HERE / "openfhe_primitives.py")]
            lines += measure("openfhe", script + ["--log-n", str(options.log_n), "--threads", str(threads)], threads)
        if options.poulpy:
            lines += measure("poulpy-ckks", [options.poulpy, str(options.log_n), str(threads)], threads)
    if options.lines:
        pathlib.Path(options.lines).write_text("".join(json.dumps(line) + "\n" for line in lines))

    times = {(line["peer"], line["op"], line["threads"]): line for line in lines}
    rows = [key[1:] for key in times if key[0] == US]
    peers = sorted({key[0] for key in times} - {US})
    print(f"N = 2^{options.log_n}: median ms / ms of processor time; in brackets, times as long as ours")
    print("| operation | threads | " + " | ".join([US] + peers) + " |")
    print("|---|---|" + "---|" * (len(peers) + 1))
    for op, threads in rows:
        own = times[US, op, threads]
        cells = [f"{own['ms_median']:.2f} / {own['cpu_ms'] or 0:.2f}"]
        cells += [cell(own, times.get((peer, op, threads))) for peer in peers]
        print(f"| {op} | {threads} | " + " | ".join(cells) + " |")


def cell(own, theirs):
    if theirs is None:
        return "-"
    parts = []
    for field in ("ms_median", "cpu_ms"):
        ratio = f" ({theirs[field] / own[field]:.1f}x)" if own[field] else ""
        parts.append(f"{theirs[field]:.1f}{ratio}")
    return " / ".join(parts)


if __name__ == "__main__":
    main()
