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
    let graph = resnet50::resnet50(56, 16, 16);
    let (lowered, stats) = lower_to_slot::run(&cx, graph).expect("the network is lowered");
    assert_eq!(lowered.outputs().len(), 1);
    insta::assert_debug_snapshot!(stats.0);
}
