"""Times CKKS primitives of the OpenFHE wheel at parameters matched in log Q, log P and digits.

Prints one JSON line per operation, with the same names as `aphelion bench primitives`. Needs `pip install openfhe`.
"""
import argparse
import json
import os
import statistics
import sys
import time

# log N -> (limbs, bits of the first prime, bits of the others, digits): 375/58, 660/180 and 1310/360 bits of Q/P.
SETS = {14: (9, 55, 40, 9), 15: (16, 60, 40, 4), 16: (26, 60, 50, 4)}
HOISTED = 8


def timed(run, repeats):
    run()
    times = []
    processor = time.process_time()
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e3)
    processor = (time.process_time() - processor) * 1e3 / repeats
    return statistics.median(times), min(times), processor


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--log-n", type=int, choices=sorted(SETS), default=16)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    # OpenMP reads this when the library is loaded.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    try:
        import openfhe
    except ImportError:
        sys.exit("openfhe is not installed: pip install openfhe")

    limbs, first_bits, bits, digits = SETS[options.log_n]
    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetRingDim(1 << options.log_n)
    parameters.SetMultiplicativeDepth(limbs - 1)
    parameters.SetFirstModSize(first_bits)
    parameters.SetScalingModSize(bits)
    parameters.SetNumLargeDigits(digits)
    parameters.SetKeySwitchTechnique(openfhe.KeySwitchTechnique.HYBRID)
    parameters.SetScalingTechnique(openfhe.ScalingTechnique.FIXEDMANUAL)
    parameters.SetSecretKeyDist(openfhe.SecretKeyDist.UNIFORM_TERNARY)
    parameters.SetSecurityLevel(openfhe.SecurityLevel.HEStd_128_classic)
    parameters.SetBatchSize(1 << (options.log_n - 1))
    context = openfhe.GenCryptoContext(parameters)
    for feature in ("PKE", "KEYSWITCH", "LEVELEDSHE"):
        context.Enable(getattr(openfhe.PKESchemeFeature, feature))
    keys = context.KeyGen()
    context.EvalMultKeyGen(keys.secretKey)
    steps = list(range(1, HOISTED + 1))
    context.EvalRotateKeyGen(keys.secretKey, steps)

    values = [((i * 37) % 101) / 101 - 0.5 for i in range(1 << (options.log_n - 1))]
    plain = context.MakeCKKSPackedPlaintext(values)
    cipher = context.Encrypt(keys.publicKey, plain)
    product = context.EvalMultNoRelin(cipher, cipher)
    order = 2 << options.log_n

    def hoisted():
        digits_of = context.EvalFastRotationPrecompute(cipher)
        for step in steps:
            context.EvalFastRotation(cipher, step, order, digits_of)

    runs = {
        "encode": lambda: context.MakeCKKSPackedPlaintext(values),
        "encrypt": lambda: context.Encrypt(keys.publicKey, plain),
        "decrypt+decode": lambda: context.Decrypt(cipher, keys.secretKey).GetRealPackedValue(),
        "add_cc": lambda: context.EvalAdd(cipher, cipher),
        "mul_cp": lambda: context.EvalMult(cipher, plain),
        "rescale": lambda: context.Rescale(product),
        "mul_cc_relin": lambda: context.EvalMult(cipher, cipher),
        "mul_cc_relin_rescale": lambda: context.Rescale(context.EvalMult(cipher, cipher)),
        "rotate": lambda: context.EvalRotate(cipher, 1),
        "hoisted_rot8": hoisted,
    }
    for op, run in runs.items():
        median, least, processor = timed(run, options.repeats)
        line = {
            "peer": "openfhe-wheel",
            "op": op,
            "logN": options.log_n,
            "limbs": limbs,
            "dnum": digits,
            "threads": options.threads,
            "ms_median": round(median, 4),
            "ms_min": round(least, 4),
            "cpu_ms": round(processor, 4),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
