//! Subgraphs without inputs become constants, neutral ops go, and moves of data compose.

use crate::build::{Build, ops, same_after};
use aphelion_ir::nn::{Func, NnOp};
use aphelion_ir::text::print_graph;
use aphelion_passes::fold_constants::run;

#[test]
fn constant_subgraphs_become_constants() {
    let mut b = Build::new();
    let x = b.input(&[1, 2]);
    let w = b.constant("w", &[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let scale = b.number(2.0);
    let scaled = b.mul(w, scale);
    let perm = vec![1, 0];
    let transposed = b.op(NnOp::Transpose { x: scaled, perm });
    let y = b.gemm(x, transposed, None);
    let (after, stats) = same_after(run, b.output(y), 0.0);
    assert_eq!(stats.0["folded_constants"], 1.0);
    insta::assert_snapshot!(print_graph(&after).expect("prints"), @r#"
    nn @test {
      const @transpose.folded : f64[3, 2] = [2.0, 8.0, 4.0, 10.0, 6.0, 12.0]
      %0 = input {name: "x", shape: [1, 2]} : f32[1, 2] from "input" "input"
      %1 = constant {value: @transpose.folded} : f32[3, 2] from "transpose" "transpose"
      %2 = gemm %0, %1, none {alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true} : f32[1, 3] from "gemm" "gemm"
      return "y" = %2
    }
    "#);
}

#[test]
fn neutral_ops_disappear_and_moves_compose() {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 3]);
    let (zero, one) = (b.constant("zero", &[3], vec![0.0; 3]), b.number(1.0));
    let sum = b.add(zero, x);
    let product = b.mul(sum, one);
    let negated = b.op(NnOp::Neg { x: product });
    let back = b.op(NnOp::Neg { x: negated });
    let flat = b.op(NnOp::Reshape {
        x: back,
        shape: vec![6],
    });
    let matrix = b.op(NnOp::Reshape {
        x: flat,
        shape: vec![2, 3],
    });
    let perm = vec![1, 0];
    let turned = b.op(NnOp::Transpose {
        x: matrix,
        perm: perm.clone(),
    });
    let returned = b.op(NnOp::Transpose { x: turned, perm });
    let y = b.apply(returned, Func::Relu {});
    let (after, stats) = same_after(run, b.output(y), 0.0);
    assert_eq!(ops(&after), ["input", "reshape", "apply"]);
    assert_eq!(stats.0["neutral_ops"], 4.0);
}

#[test]
fn broadcasting_zeros_stay() {
    let mut b = Build::new();
    let x = b.input(&[1, 3]);
    let zeros = b.constant("zeros", &[2, 3], vec![0.0; 6]);
    let y = b.add(x, zeros);
    let (after, _) = same_after(run, b.output(y), 0.0);
    assert_eq!(ops(&after), ["input", "add"]);
}

#[test]
fn unused_inputs_stay_and_constant_results_are_computed() {
    let mut b = Build::new();
    b.input(&[1]);
    let (two, three) = (b.number(2.0), b.number(3.0));
    let y = b.mul(two, three);
    let (after, _) = same_after(run, b.output(y), 0.0);
    assert_eq!(ops(&after), ["input"]);
    assert_eq!(after.len(), 2);
}
