//! Buffers are recycled: once an operation has run, running it again takes no new memory.

use aphelion_runtime::ckks::encoding::Complex64;
use aphelion_runtime::ckks::eval::{Evaluator, RawDiagonals};
use aphelion_runtime::ckks::keys::KeyRequest;
use aphelion_runtime::ckks::linear::{Diagonals, LinearTransform};
use aphelion_runtime::ckks::params::Security;

use crate::common::{Client, parameters, sample};

#[test]
fn a_running_program_takes_no_new_memory() {
    // one thread, so that the order of taking and giving back is the same in every run
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut client = Client::new(parameters(12, 5, 40.0, 50.0, 3, Security::None));
        let params = client.params.clone();
        let level = params.max_level();
        let diagonals: Diagonals = (0..12)
            .map(|offset| {
                let values = sample(2048, offset as u64).into_iter().map(Complex64::from).collect();
                ((0, 0, offset), values)
            })
            .collect();
        let (shape, values) = LinearTransform::from_diagonals(2048, 1, 1, &diagonals, 4, vec![]).unwrap();
        let mut request = KeyRequest::default();
        request.add_relin(level);
        request.add_rotation(3, level);
        request.add_rotations(&shape.rotations(level));
        let evaluator = Evaluator::new(client.secret.evaluation_keys(&request, &mut client.rng).unwrap());
        let a = client.encrypt(&sample(2048, 1), level);
        let encoding = evaluator.diagonal_encoding(&shape, level, a.scale()).unwrap();
        let ahead = RawDiagonals::new(&client.encoder, &shape, &values)
            .encode(&encoding)
            .unwrap();
        let ops: [(&str, &dyn Fn()); 4] = [
            ("rotate", &|| drop(evaluator.rotate(&a, 3).unwrap())),
            ("hoisted", &|| drop(evaluator.rotate_hoisted(&a, &[1, 2, 3]).unwrap())),
            ("multiply", &|| drop(evaluator.mul_relin_rescale(&a, &a).unwrap())),
            ("linear transform", &|| {
                drop(evaluator.linear_transform(&[&a], &shape, &ahead, level).unwrap());
            }),
        ];
        let idle = || params.ring().pool().idle_bytes();
        for (name, op) in ops {
            op();
            let after_first = idle();
            for _ in 0..3 {
                op();
                assert_eq!(idle(), after_first, "{name}");
            }
        }
    });
}
