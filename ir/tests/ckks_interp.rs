//! The interpreter of `ckks`: exact results, noise of the predicted size, errors for what would go wrong encrypted.

use aphelion_ir::ckks::{BootstrapSpec, Bsgs, Ckks, CkksOp, Interpreter, Noise, NoiseModel, ParameterSpec, Secret};
use aphelion_ir::slot::{Basis, Kernel, Layout, LinearMap, PlainTensor, Polynomial};
use aphelion_ir::text::{parse_graph, print_graph};
use aphelion_ir::{ConstRef, Graph, Origin, Tensor, ValueId};
use std::collections::BTreeMap;

const SLOTS: usize = 64;

fn spec() -> ParameterSpec {
    ParameterSpec {
        log_n: 13,
        max_level: 4,
        log_scale: 30,
        log_q0: 36,
        dnum: 5,
        log_special: 40,
        n_special: 1,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    }
}

fn graph() -> (Graph<Ckks>, ValueId) {
    let mut graph = Graph::<Ckks>::new("g", Default::default());
    graph.attrs.parameters = Some(spec());
    graph.attrs.packing.output_scales = vec![2.0];
    graph.attrs.output_layouts = vec![Layout::dense(&[SLOTS], SLOTS)];
    let input = CkksOp::Input {
        name: "x".into(),
        layout: Layout::dense(&[SLOTS], SLOTS),
        scale: 4.0,
        level: 4,
    };
    let x = graph.push(input, Origin::default()).expect("input");
    (graph, x)
}

fn push(graph: &mut Graph<Ckks>, op: CkksOp) -> ValueId {
    graph.push(op, Origin::default()).expect("a valid op")
}

fn samples() -> Vec<f64> {
    (0..SLOTS).map(|i| 4.0 * ((i * 37 % 64) as f64 / 32.0 - 1.0)).collect()
}

fn run(graph: &Graph<Ckks>, noise: Noise) -> Vec<f64> {
    let inputs = BTreeMap::from([("x".to_string(), samples())]);
    let interpreter = Interpreter::new(graph).expect("a valid graph");
    interpreter.evaluate(&inputs, noise).expect("runs").remove(0)
}

/// Root mean square of the difference to the exact run, over some seeds, in units of slots.
fn rms(graph: &Graph<Ckks>) -> f64 {
    let exact = run(graph, Noise::Off);
    let n_seeds = 64;
    let squares = (0..n_seeds).flat_map(|seed| {
        let noisy = run(graph, Noise::Seeded(seed));
        let square = |(noisy, exact): (&f64, &f64)| ((noisy - exact) / 2.0).powi(2);
        noisy.iter().zip(&exact).map(square).collect::<Vec<_>>()
    });
    (squares.sum::<f64>() / (n_seeds as f64 * SLOTS as f64)).sqrt()
}

#[test]
fn a_product_is_exact_without_noise_and_off_by_its_noise_with() {
    let (mut graph, x) = graph();
    let product = push(&mut graph, CkksOp::Mul { a: x, b: x });
    let linear = push(&mut graph, CkksOp::Relinearize { x: product });
    let y = push(&mut graph, CkksOp::Rescale { x: linear });
    graph.output("y", y);
    let exact = run(&graph, Noise::Off);
    for (x, y) in samples().iter().zip(&exact) {
        assert!((y - 2.0 * (x / 4.0).powi(2)).abs() < 1e-12);
    }
    let model = NoiseModel::new(&spec()).expect("sane");
    // 4 x^2 fresh + rescale; the key switch happens at the squared scale.
    let mean_square = samples().iter().map(|x| (x / 4.0).powi(2)).sum::<f64>() / SLOTS as f64;
    let expected = (4.0 * mean_square * model.fresh(SLOTS) + model.rescale(SLOTS)).sqrt();
    let found = rms(&graph);
    assert!((found / expected - 1.0).abs() < 0.1, "{found:e} {expected:e}");
    assert_eq!(run(&graph, Noise::Seeded(3)), run(&graph, Noise::Seeded(3)));
    assert_ne!(run(&graph, Noise::Seeded(3)), run(&graph, Noise::Seeded(4)));
}

#[test]
fn a_matrix_is_applied_through_its_plan() {
    let (mut graph, x) = graph();
    let weights: Vec<f64> = (0..SLOTS * SLOTS)
        .map(|i| ((i * 7919 % 101) as f64 - 50.0) / 3200.0)
        .collect();
    graph
        .constants
        .insert("w", Tensor::from_f64(vec![SLOTS, SLOTS], weights.clone()));
    graph.constants.insert("b", Tensor::from_f64(vec![1], vec![0.25]));
    let layout = Layout::dense(&[SLOTS], SLOTS);
    let kernel = Kernel {
        map: LinearMap::Dense {
            input: vec![SLOTS],
            weight: ConstRef::new("w"),
            transposed: true,
        },
        output: layout.clone(),
        fold: vec![],
    };
    let transform = |baby_steps: Vec<usize>| CkksOp::LinearTransform {
        x,
        kernel: kernel.clone(),
        input: layout.clone(),
        bsgs: Bsgs {
            baby_steps,
            giant_steps: (0..SLOTS).step_by(8).collect(),
        },
        at: 4,
    };
    let mut truncated = graph.clone();
    let y = push(&mut graph, transform((0..8).collect()));
    let y = push(&mut graph, CkksOp::Rescale { x: y });
    let value = PlainTensor {
        value: ConstRef::new("b"),
        factor: 2.0,
    };
    let y = push(
        &mut graph,
        CkksOp::AddPlain {
            x: y,
            value,
            layout: layout.clone(),
        },
    );
    graph.output("y", y);
    let exact = run(&graph, Noise::Off);
    for (row, y) in weights.chunks(SLOTS).zip(&exact) {
        let product: f64 = row.iter().zip(&samples()).map(|(w, x)| w * x / 4.0).sum();
        assert!((y - 2.0 * (product + 0.5)).abs() < 1e-12);
    }
    let model = NoiseModel::new(&spec()).expect("sane");
    let least = model.rescale(SLOTS).sqrt();
    let found = rms(&graph);
    assert!((0.95 * least..4.0 * least).contains(&found), "{found:e} {least:e}");

    let y = push(&mut truncated, transform((0..7).collect()));
    let y = push(&mut truncated, CkksOp::Rescale { x: y });
    truncated.output("y", y);
    let inputs = BTreeMap::from([("x".to_string(), samples())]);
    let error = Interpreter::new(&truncated).and_then(|it| it.evaluate(&inputs, Noise::Off));
    assert!(error.unwrap_err().to_string().contains("reaches no rotation by 7"));
}

#[test]
fn polynomials_add_noise_of_the_size_of_a_few_rescales() {
    for (basis, coeffs) in [
        (Basis::Chebyshev {}, vec![0.1, 0.5, 0.0, -0.3, 0.0, 0.2, 0.0, -0.1]),
        (Basis::Monomial {}, vec![0.1, 0.5, -0.25, 0.125]),
    ] {
        let (mut graph, x) = graph();
        let (low, high) = (-1.0, 1.0);
        let poly = Polynomial {
            basis,
            low,
            high,
            coeffs,
        };
        let y = push(
            &mut graph,
            CkksOp::PolyEval {
                x,
                poly: poly.clone(),
                at: 4,
            },
        );
        graph.output("y", y);
        for (x, y) in samples().iter().zip(&run(&graph, Noise::Off)) {
            assert!((y / 2.0 - poly.eval(x / 4.0)).abs() < 1e-12);
        }
        let rescale = NoiseModel::new(&spec()).expect("sane").rescale(SLOTS).sqrt();
        let found = rms(&graph);
        assert!((rescale..8.0 * rescale).contains(&found), "{found:e} {rescale:e}");
    }
}

#[test]
fn values_that_would_wrap_around_are_refused() {
    let (mut graph, x) = graph();
    let y = push(&mut graph, CkksOp::AddScalar { x, by: 1e3 });
    let y = push(&mut graph, CkksOp::DropLevel { x: y, to: 0 });
    graph.output("y", y);
    let inputs = BTreeMap::from([("x".to_string(), samples())]);
    let interpreter = Interpreter::new(&graph).expect("a valid graph");
    assert!(interpreter.evaluate(&inputs, Noise::Off).is_ok());
    let error = interpreter.evaluate(&inputs, Noise::Seeded(0)).unwrap_err().to_string();
    assert!(error.contains("room for 2^5.0 at level 0"), "{error}");
    graph.attrs.parameters = None;
    let interpreter = Interpreter::new(&graph).expect("a valid graph");
    assert!(interpreter.evaluate(&inputs, Noise::Seeded(0)).is_err());
    assert!(interpreter.evaluate(&BTreeMap::new(), Noise::Off).is_err());
}

#[test]
fn a_bootstrap_adds_its_error_and_takes_a_bounded_message() {
    let bootstrap = BootstrapSpec {
        slots: SLOTS,
        pairs: false,
        bits: 10.0,
        levels: 4,
        input_level: 2,
        total_levels: 12,
        log_error: -12.0,
    };
    let bootstrapped = |bound: f64, drop_to: u32, slots: usize, spec: ParameterSpec| {
        let (mut graph, x) = graph();
        graph.attrs.parameters = Some(spec);
        let x = push(&mut graph, CkksOp::DropLevel { x, to: drop_to });
        let x = push(&mut graph, CkksOp::AddScalar { x, by: bound });
        let y = graph.push(CkksOp::Bootstrap { x, to: 4, slots }, Origin::default())?;
        graph.output("y", y);
        Ok::<_, aphelion_ir::IrError>(graph)
    };
    let with_bootstrap = ParameterSpec {
        dnum: 3,
        bootstrap: Some(bootstrap),
        ..spec()
    };
    let graph = bootstrapped(0.0, 2, SLOTS, with_bootstrap.clone()).expect("valid");
    assert_eq!(graph.ty(ValueId(3)).level, 4);
    let found = rms(&graph);
    assert!((found / (-12f64).exp2() - 1.0).abs() < 0.05, "{found}");
    let text = print_graph(&graph).expect("prints");
    assert!(
        text.contains("bootstrap: {slots: 64, pairs: false, bits: 10.0, levels: 4, input_level: 2"),
        "{text}"
    );
    assert_eq!(parse_graph::<Ckks>(&text, &graph.constants).expect("parses"), graph);

    let message = |error: aphelion_ir::IrError| error.to_string();
    let far = bootstrapped(1.5, 2, SLOTS, with_bootstrap.clone()).expect("valid");
    let inputs = BTreeMap::from([("x".to_string(), samples())]);
    let far = Interpreter::new(&far).and_then(|it| it.evaluate(&inputs, Noise::Seeded(1)));
    let far = far.map_err(message).unwrap_err();
    assert!(
        far.contains("before a bootstrap, which takes magnitudes up to 2"),
        "{far}"
    );
    let high = bootstrapped(0.0, 3, SLOTS, with_bootstrap.clone())
        .map_err(message)
        .unwrap_err();
    assert!(
        high.contains("goes from level 3 to 4, the parameters have a bootstrap from 2 to 4"),
        "{high}"
    );
    let none = bootstrapped(0.0, 2, SLOTS, spec()).map_err(message).unwrap_err();
    assert!(none.contains("made for no bootstrap"), "{none}");
    let wide = bootstrapped(0.0, 2, 2 * SLOTS, with_bootstrap.clone())
        .map_err(message)
        .unwrap_err();
    assert!(
        wide.contains("128 slots are no power of two up to the 64 of the operand"),
        "{wide}"
    );

    // Of few slots, the mean over all periods is what comes back.
    let few = ParameterSpec {
        secret: Secret::SparseTernary { hamming_weight: 192 },
        ..with_bootstrap
    };
    let graph = bootstrapped(0.0, 2, SLOTS / 4, few).expect("valid");
    let text = print_graph(&graph).expect("prints");
    assert!(
        text.contains("bootstrap %1 {to: 4, slots: 16}") || text.contains("slots: 16"),
        "{text}"
    );
    assert!(text.contains("secret: sparse_ternary {hamming_weight: 192}"), "{text}");
    assert_eq!(parse_graph::<Ckks>(&text, &graph.constants).expect("parses"), graph);
    let means: Vec<f64> = (0..SLOTS / 4)
        .map(|slot| samples().iter().skip(slot).step_by(SLOTS / 4).sum::<f64>() / 4.0)
        .collect();
    let exact = run(&graph, Noise::Off);
    for (slot, found) in exact.iter().enumerate() {
        let expected = means[slot % means.len()] / 2.0;
        assert!((found - expected).abs() < 1e-12, "{slot}: {found} {expected}");
    }
    let noisy = run(&graph, Noise::Seeded(3));
    assert!((0..SLOTS).all(|slot| noisy[slot] == noisy[slot % means.len()] && noisy[slot] != exact[slot]));
}
