//! Batch normalisation, scales and shifts vanish into the weights beside them; what must stay stays.

use crate::build::{Build, ops, same_after};
use aphelion_ir::nn::{Func, NnOp};
use aphelion_ir::text::print_graph;
use aphelion_passes::fold_affine::run;
use aphelion_passes::{PassCx, PassError};

fn batch_norm(b: &mut Build, x: aphelion_ir::ValueId, channels: usize) -> aphelion_ir::ValueId {
    let scale = b.weights("scale", &[channels]);
    let bias = b.weights("bias_", &[channels]);
    let mean = b.weights("mean", &[channels]);
    let var = b.constant("var", &[channels], (0..channels).map(|c| 0.5 + c as f64).collect());
    let epsilon = 1e-5;
    b.op(NnOp::BatchNorm {
        x,
        scale,
        bias,
        mean,
        var,
        epsilon,
    })
}

#[test]
fn batch_norm_goes_into_the_convolution() {
    for has_bias in [false, true] {
        let mut b = Build::new();
        let x = b.input(&[1, 2, 5, 4]);
        let w = b.weights("w", &[3, 2, 3, 3]);
        let bias = has_bias.then(|| b.weights("bias", &[3]));
        let conv = b.conv(x, w, bias, 1);
        let normal = batch_norm(&mut b, conv, 3);
        let y = b.apply(normal, Func::Relu {});
        let (after, stats) = same_after(run, b.output(y), 1e-12);
        assert_eq!(ops(&after), ["input", "conv", "apply"]);
        assert_eq!(stats.0["folded_affine"], 1.0);
    }
}

#[test]
fn a_chain_of_constants_goes_into_gemm() {
    let mut b = Build::new();
    let x = b.input(&[1, 2]);
    let w = b.constant("w", &[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let c = b.constant("c", &[3], vec![1.0, 1.0, 2.0]);
    let gemm = b.gemm(x, w, Some(c));
    let two = b.number(2.0);
    let quotient = b.div(gemm, two);
    let v = b.constant("v", &[3], vec![1.0, 2.0, 4.0]);
    let difference = b.sub(v, quotient);
    let y = b.op(NnOp::Neg { x: difference });
    let (after, _) = same_after(run, b.output(y), 1e-14);
    insta::assert_snapshot!(print_graph(&after).expect("prints"), @r#"
    nn @test {
      const @gemm.bias : f64[3] = [-0.5, -1.5, -3.0]
      const @gemm.weight : f64[3, 2] = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
      %0 = input {name: "x", shape: [1, 2]} : f32[1, 2] from "input" "input"
      %1 = constant {value: @gemm.weight} : f32[3, 2] from "gemm" "gemm"
      %2 = constant {value: @gemm.bias} : f32[3] from "gemm" "gemm"
      %3 = gemm %0, %1, %2 {alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true} : f32[1, 3] from "gemm" "gemm"
      return "y" = %3
    }
    "#);
}

#[test]
fn matmul_takes_a_bias_as_gemm() {
    let mut b = Build::new();
    let x = b.input(&[2, 3]);
    let w = b.weights("w", &[3, 4]);
    let product = b.op(NnOp::MatMul { a: x, b: w });
    let (scale, shift) = (b.weights("scale", &[4]), b.weights("shift_", &[1, 4]));
    let scaled = b.mul(scale, product);
    let y = b.add(scaled, shift);
    let (after, _) = same_after(run, b.output(y), 1e-13);
    assert_eq!(ops(&after), ["input", "gemm"]);
}

#[test]
fn what_varies_along_positions_stays() {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 4]);
    let w = b.weights("w", &[3, 2, 1]);
    let conv = b.conv(x, w, None, 0);
    let scale = b.weights("positions", &[4]);
    let scaled = b.mul(conv, scale);
    let shift = b.number(0.5);
    let y = b.add(scaled, shift);
    let (after, _) = same_after(run, b.output(y), 1e-13);
    assert_eq!(ops(&after), ["input", "conv", "mul", "add"]);
}

#[test]
fn shared_values_are_not_folded_twice() {
    let mut b = Build::new();
    let x = b.input(&[1, 3]);
    let w = b.weights("w", &[3, 3]);
    let gemm = b.gemm(x, w, None);
    let normal = batch_norm(&mut b, gemm, 3);
    let y = b.add(gemm, normal);
    let (after, _) = same_after(run, b.output(y), 1e-13);
    assert_eq!(ops(&after), ["input", "gemm", "mul", "add", "add"]);
}

#[test]
fn powers_and_quotients_become_products() {
    let mut b = Build::new();
    let x = b.input(&[1, 3]);
    let cube = b.op(NnOp::Pow { x, exponent: 3 });
    let sixth = b.op(NnOp::Pow { x, exponent: 6 });
    let sum = b.add(cube, sixth);
    let positive = b.apply(x, Func::Exp {});
    let y = b.div(sum, positive);
    let (after, stats) = same_after(run, b.output(y), 1e-12);
    assert_eq!(
        ops(&after),
        ["input", "mul", "mul", "mul", "add", "apply", "apply", "mul"]
    );
    assert_eq!((stats.0["powers"], stats.0["divisions"]), (2.0, 1.0));
}

#[test]
fn division_by_zero_is_named() {
    let mut b = Build::new();
    let x = b.input(&[1, 3]);
    let divisor = b.constant("divisor", &[3], vec![1.0, 0.0, 2.0]);
    let y = b.div(x, divisor);
    let error = run(&PassCx::default(), b.output(y)).expect_err("divides by zero");
    assert!(matches!(error, PassError::Unsupported { .. }));
    assert!(error.to_string().contains("`div`"), "{error}");
}
