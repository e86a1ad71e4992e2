//! Bootstrapping: whole, at small rings that protect nothing, over every kind of packing; each run's precision is printed.

use std::io::Write;
use std::sync::Arc;

use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Bootstrapper, Content};
use aphelion_runtime::ckks::encoding::Complex64;
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::params::{Parameters, SecretDistribution, Security};

use crate::common::{Client, sample};

fn request(log_n: u32, slots: usize, content: Content) -> BootstrapRequest {
    BootstrapRequest {
        log_n,
        slots,
        content,
        bits: 18.0,
        levels: 3,
        log_scale: 40.0,
        security: Security::None,
    }
}

fn circuit() -> BootstrapCircuit {
    BootstrapCircuit {
        log_ratio: 7.0,
        arcsine_degree: 3,
        doublings: 2,
        log_reduction_prime: 46.3,
        takes_halves_apart: true,
        coeffs_to_slots: vec![5, 3, 3],
        slots_to_coeffs: 3,
        digits: None,
        secret: SecretDistribution::UniformTernary,
        ephemeral_weight: 32,
        failure_log2: -40.0,
    }
}

/// Worst and mean error of the real parts, in bits.
fn precision(found: &[f64], expected: &[f64]) -> [f64; 2] {
    let errors: Vec<f64> = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    [-worst.log2(), -mean.log2()]
}

fn report(what: &str, plan: &BootstrapPlan, bits: [f64; 2]) {
    let expected = plan.expected_bits();
    let line = format!(
        "{what}, {} slots: worst {:.1} (expected {:.1}), mean {:.1} (expected {:.1})\n",
        plan.request().slots,
        bits[0],
        expected[0],
        bits[1],
        expected[1]
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    // Diagonals of very few slots have simple values, which are encoded better than others.
    let most = if plan.request().slots < 16 { 3.0 } else { 1.0 };
    assert!(
        (-1.0..most).contains(&(bits[1] - expected[1])) && bits[0] > expected[0] - 1.0,
        "{what}: {bits:?}, expected {expected:?}"
    );
    assert!(bits[0] > plan.request().bits, "{what}: {:.1} bits", bits[0]);
}

#[test]
fn real_and_complex_messages_of_several_slot_counts() {
    let log_n = 12;
    let base = BootstrapPlan::with_circuit(&request(log_n, 1 << 11, Content::Complex), &circuit()).unwrap();
    let mut client = Client::new(Parameters::new(base.literal().clone()).unwrap());
    for (slots, content) in [
        (1 << 11, Content::Real),
        (1 << 11, Content::Complex),
        (1 << 8, Content::Real),
        (1 << 8, Content::Complex),
        (1 << 2, Content::Complex),
    ] {
        let plan = base.for_slots(slots, content).unwrap();
        let keys = plan.key_request().unwrap();
        let keys = client.secret.evaluation_keys(&keys, &mut client.rng).unwrap();
        let bootstrapper = Bootstrapper::new(plan.clone(), Arc::new(Evaluator::new(keys))).unwrap();
        let (re, im) = (sample(slots, 1), sample(slots, 2));
        let level = plan.output_level();
        match content {
            Content::Real => {
                let result = bootstrapper
                    .bootstrap(&client.encrypt(&re, plan.input_level()))
                    .unwrap();
                assert_eq!((result.level(), result.scale()), (level, client.params.scale(level)));
                report("real", &plan, precision(&client.decrypt(&result), &re));
            }
            Content::Complex => {
                let z: Vec<_> = re.iter().zip(&im).map(|(re, im)| Complex64::new(*re, *im)).collect();
                let result = bootstrapper
                    .bootstrap(&client.encrypt_complex(&z, plan.input_level()))
                    .unwrap();
                assert_eq!((result.level(), result.scale()), (level, client.params.scale(level)));
                let found = client.decrypt_complex(&result);
                let parts: Vec<f64> = found.iter().flat_map(|z| [z.re, z.im]).collect();
                let expected: Vec<f64> = z.iter().flat_map(|z| [z.re, z.im]).collect();
                report("complex", &plan, precision(&parts, &expected));
                let pair = [client.encrypt(&re, level), client.encrypt(&im, level - 1)];
                let pair = bootstrapper.bootstrap_pair(&pair[0], &pair[1]).unwrap();
                for (result, expected) in pair.iter().zip([&re, &im]) {
                    report("one of two", &plan, precision(&client.decrypt(result), expected));
                }
            }
        }
    }
}
