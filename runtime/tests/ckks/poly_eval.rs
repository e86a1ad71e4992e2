//! Polynomials of ciphertexts: precision, exact landing, depth.

use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::KeyRequest;
use aphelion_runtime::ckks::params::{Parameters, Security};
use aphelion_runtime::ckks::polynomial::{Basis, Polynomial, PolynomialPlan};

use crate::common::{Client, bits, division, error_bits, key_switch, parameters, sample, secure};

fn setup(params: std::sync::Arc<Parameters>) -> (Client, Evaluator) {
    let mut client = Client::new(params);
    let mut keys = KeyRequest::default();
    (0..=client.params.max_level()).for_each(|level| keys.add_relin(level));
    let keys = client.secret.evaluation_keys(&keys, &mut client.rng).unwrap();
    (client, Evaluator::new(keys))
}

/// Evaluates encrypted and in the clear; `amplification` bounds how much the noise of a power may grow, which is at
/// most the sum over the coefficients times the degree squared, the largest derivative of a Chebyshev polynomial.
fn check(client: &mut Client, evaluator: &Evaluator, basis: Basis, coeffs: Vec<f64>, amplification: f64) {
    let params = client.params.clone();
    let polynomial = Polynomial::new(basis, coeffs).unwrap();
    let plan = PolynomialPlan::new(polynomial.clone());
    let x = sample(params.max_slots(), 5);
    let level = params.max_level();
    let result = evaluator.poly_eval(&client.encrypt(&x, level), &plan).unwrap();
    assert_eq!(
        (result.level(), result.scale()),
        (level - plan.depth(), params.scale(level - plan.depth()))
    );
    let expected: Vec<_> = x.iter().map(|x| polynomial.evaluate(*x)).collect();
    let found = error_bits(&client.decrypt(&result), &expected);
    let noise = division(&params) + key_switch(&params, level);
    let bound = bits(&params, result.level(), noise) - amplification.log2();
    assert!(
        found > bound,
        "{basis:?} of degree {}: {found:.1} bits, bound {bound:.1}",
        polynomial.degree()
    );
}

#[test]
fn polynomials_of_every_small_degree() {
    let (mut client, evaluator) = setup(parameters(10, 5, 40.0, 50.0, 2, Security::None));
    for degree in 1..=31 {
        for basis in [Basis::Chebyshev, Basis::Monomial] {
            let coeffs: Vec<_> = sample(degree + 1, degree as u64);
            check(&mut client, &evaluator, basis, coeffs.clone(), (degree * degree) as f64);
            let odd = coeffs
                .into_iter()
                .enumerate()
                .map(|(i, c)| if i % 2 == 0 { 0.0 } else { c + 0.1 })
                .collect();
            check(&mut client, &evaluator, basis, odd, (degree * degree) as f64);
        }
    }
}

#[test]
fn a_sigmoid_at_real_parameters() {
    let (mut client, evaluator) = setup(secure(14, 5, 42.0, 48.0, 3));
    // Chebyshev interpolation of 1 / (1 + exp(-8x)) at 32 nodes.
    let degree = 31;
    let nodes: Vec<f64> = (0..=degree)
        .map(|k| (std::f64::consts::PI * (f64::from(k) + 0.5) / f64::from(degree + 1)).cos())
        .collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-8.0 * x).exp());
    let coeffs = (0..=degree)
        .map(|i| {
            let sum: f64 = nodes
                .iter()
                .map(|x| sigmoid(*x) * (f64::from(i) * x.acos()).cos())
                .sum();
            sum * if i == 0 { 1.0 } else { 2.0 } / f64::from(degree + 1)
        })
        .collect();
    check(&mut client, &evaluator, Basis::Chebyshev, coeffs, 16.0);
}

#[test]
fn an_asked_scale_is_met_and_many_agree_with_one() {
    let (mut client, evaluator) = setup(parameters(10, 4, 40.0, 50.0, 2, Security::None));
    let plan = PolynomialPlan::new(Polynomial::new(Basis::Chebyshev, vec![0.5, 0.25, -0.125, 0.0625, 0.3]).unwrap());
    let x = sample(512, 1);
    let ciphertext = client.encrypt(&x, 4);
    let scale = 2f64.powf(41.3);
    let result = evaluator.poly_eval_to_scale(&ciphertext, &plan, scale).unwrap();
    assert_eq!((result.level(), result.scale()), (1, scale));
    let expected: Vec<_> = x.iter().map(|x| plan.polynomial().evaluate(*x)).collect();
    assert!(error_bits(&client.decrypt(&result), &expected) > 25.0);
    let one = evaluator.poly_eval(&ciphertext, &plan).unwrap();
    let many = evaluator
        .poly_eval_many(&[ciphertext.clone(), ciphertext], &plan)
        .unwrap();
    assert!(
        many.iter().all(|result| *result == one),
        "results must not depend on the schedule"
    );
    let low = client.encrypt(&x, 2);
    assert!(evaluator.poly_eval(&low, &plan).is_err());
}
