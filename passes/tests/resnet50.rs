//! A network of all layers of ResNet-50, with fewer channels and pixels, is placed into slots within seconds.

#[path = "../examples/plan_resnet50/resnet50.rs"]
mod resnet50;

use aphelion_passes::{CompileOptions, PassCx, lower_to_slot};

#[test]
fn fifty_layers_are_placed() {
    let cx = PassCx {
        options: CompileOptions {
            log_n: Some(16),
            ..CompileOptions::default()
        },
        ..PassCx::default()
    };
    let graph = resnet50::resnet50(56, 8, 16);
    let (lowered, stats) = lower_to_slot::run(&cx, graph).expect("the network is lowered");
    assert_eq!(lowered.outputs().len(), 1);
    let count = |name: &str| stats.0[name];
    // 53 convolutions, the pool taken in by one of them, the dense layer, and a few moves between layouts.
    let linear_ops = count("linear_ops");
    assert!((54.0..=60.0).contains(&linear_ops), "{linear_ops} linear ops");
    assert_eq!((count("depth"), count("ciphertexts")), (197.0, 1.0));
    assert!(count("diagonals") < 16_000.0, "{stats:?}");
}
