//! All operations, forward and backward.

use super::*;

/// The blur as a depthwise convolution with `[1 2 1] x [1 2 1] / 16`.
fn blur(x: &Tensor, stride: i64) -> Tensor {
    let (row, channels) = (Tensor::from_slice(&[0.25, 0.5, 0.25]), x.size()[1]);
    let filter = row.outer(&row).repeat([channels, 1, 1, 1]).to_device(x.device());
    x.conv2d(&filter, None::<&Tensor>, [stride; 2], [1, 1], [1, 1], channels)
}

fn max_pool(x: &Tensor, stride: i64) -> Tensor {
    x.max_pool2d([3, 3], [stride; 2], [1, 1], [1, 1], false)
}

/// Relative errors of what an operation computes, by name.
type Errors = Vec<(String, f64)>;

/// The errors of all operations on tensors of `sizes`.
pub(super) fn errors(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    noise::restart();
    [
        statistics(kernels, sizes),
        bn_relu(kernels, sizes),
        blocks(kernels, sizes),
        blurs(kernels, sizes),
        pools(kernels, sizes),
        space_to_depth(kernels, sizes),
    ]
    .concat()
}

fn named(name: &str, pairs: &[(&str, &Tensor, &Tensor)]) -> Errors {
    let error = |(part, actual, expected): &(&str, &Tensor, &Tensor)| {
        (format!("{name}: {part}"), relative_error(actual, expected))
    };
    pairs.iter().map(error).collect()
}

fn statistics(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    let (x, parameters) = (activations(kernels, sizes), Parameters::new(kernels, sizes[1]));
    let reference = parameters.reference();
    let evaluated = kernels.running_statistics(&parameters.norm()).unwrap();
    let evaluated = kernels.bn_relu(&x, &evaluated).unwrap();
    let expected = reference.evaluate(&leaf(&x)).relu();
    let in_evaluation = named("evaluation", &[("output", &evaluated, &expected)]);

    drop(kernels.batch_statistics(&x, &parameters.norm()).unwrap());
    drop(reference.train(&leaf(&x)));
    let in_training = named(
        "training",
        &[
            ("running mean", &parameters.running_mean, &reference.running_mean),
            ("running variance", &parameters.running_var, &reference.running_var),
        ],
    );
    [in_evaluation, in_training].concat()
}

fn bn_relu(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    let (stored, dy) = (activations(kernels, sizes), activations(kernels, sizes));
    let parameters = Parameters::new(kernels, sizes[1]);
    let (x, reference) = (leaf(&stored), parameters.reference());
    let statistics = kernels.batch_statistics(&stored, &parameters.norm()).unwrap();
    let y = kernels.bn_relu(&stored, &statistics).unwrap();
    let expected = gated(&reference.train(&x), &y);
    (&expected * &leaf(&dy)).sum(Kind::Double).backward();
    let gradient = kernels.bn_relu_backward(&dy, &stored, &statistics).unwrap();
    named(
        "bn_relu",
        &[
            ("output", &y, &expected),
            ("input's gradient", &gradient.x, &x.grad()),
            ("weight's gradient", &gradient.weight, &reference.weight.grad()),
            ("bias's gradient", &gradient.bias, &reference.bias.grad()),
        ],
    )
}

/// Both kinds of residual sum, with all forms of the incoming gradient.
fn blocks(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    let [n, c, h, w] = sizes;
    let full = [activations(kernels, sizes), activations(kernels, sizes)];
    let half = activations(kernels, [n, c, (h + 1) / 2, (w + 1) / 2]);
    let mean = activations(kernels, [n, c, 1, 1]);
    let all = [
        ("one", Incoming::One(&full[0])),
        ("sum", Incoming::Sum(&full[0], &full[1])),
        ("blurred", Incoming::Blurred(&full[0], &half)),
        ("mean", Incoming::Mean(&mean)),
    ];
    let errors = |(name, incoming): &(&str, Incoming<'_>)| {
        [block(kernels, sizes, name, incoming), pair(kernels, sizes, name, incoming)].concat()
    };
    all.iter().flat_map(errors).collect()
}

/// `ReLU` of `x` that passes what it passed to `y`. A number near zero that rounding makes positive or
/// negative would pass a whole gradient or none.
fn gated(x: &Tensor, y: &Tensor) -> Tensor {
    x * y.gt(0.0).to_kind(Kind::Double)
}

/// The product of a block's output `y` with the gradient that `incoming` stands for.
fn weighted(y: &Tensor, incoming: &Incoming<'_>) -> Tensor {
    let product = |y: &Tensor, dy: &Tensor| (y * leaf(dy)).sum(Kind::Double);
    match incoming {
        Incoming::One(dy) => product(y, dy),
        Incoming::Sum(first, second) => product(y, first) + product(y, second),
        Incoming::Blurred(first, second) => product(y, first) + product(&blur(y, 2), second),
        Incoming::Mean(dy) => product(&y.mean_dim([2_i64, 3].as_slice(), true, Kind::Double), dy),
    }
}

fn block(kernels: &Kernels, sizes: [i64; 4], name: &str, incoming: &Incoming<'_>) -> Errors {
    let (stored, beside) = (activations(kernels, sizes), activations(kernels, sizes));
    let parameters = Parameters::new(kernels, sizes[1]);
    let (x, residual, reference) = (leaf(&stored), leaf(&beside), parameters.reference());
    let statistics = kernels.batch_statistics(&stored, &parameters.norm()).unwrap();
    let (y, mask) = kernels.bn_add_relu(&stored, &statistics, &beside).unwrap();
    let expected = gated(&(reference.train(&x) + &residual), &y);
    weighted(&expected, incoming).backward();
    let (gradient, residual_gradient) =
        kernels.bn_add_relu_backward(incoming, &mask, &stored, &statistics).unwrap();
    named(
        &format!("bn_add_relu, {name}"),
        &[
            ("output", &y, &expected),
            ("input's gradient", &gradient.x, &x.grad()),
            ("residual's gradient", &residual_gradient, &residual.grad()),
            ("weight's gradient", &gradient.weight, &reference.weight.grad()),
            ("bias's gradient", &gradient.bias, &reference.bias.grad()),
        ],
    )
}

fn pair(kernels: &Kernels, sizes: [i64; 4], name: &str, incoming: &Incoming<'_>) -> Errors {
    let stored = [(); 2].map(|()| activations(kernels, sizes));
    let parameters = [(); 2].map(|()| Parameters::new(kernels, sizes[1]));
    let (x, references) =
        (stored.each_ref().map(leaf), parameters.each_ref().map(Parameters::reference));
    let statistics =
        [0, 1].map(|i| kernels.batch_statistics(&stored[i], &parameters[i].norm()).unwrap());
    let (y, mask) =
        kernels.bn_bn_relu(&stored[0], &statistics[0], &stored[1], &statistics[1]).unwrap();
    let expected = gated(&(references[0].train(&x[0]) + references[1].train(&x[1])), &y);
    weighted(&expected, incoming).backward();
    let (first, second) = kernels
        .bn_bn_relu_backward(
            incoming,
            &mask,
            &stored[0],
            &statistics[0],
            &stored[1],
            &statistics[1],
        )
        .unwrap();
    let gradients = [first, second].into_iter().zip(&x).zip(&references);
    let gradients = gradients.flat_map(|((gradient, x), reference)| {
        named(
            &format!("bn_bn_relu, {name}"),
            &[
                ("input's gradient", &gradient.x, &x.grad()),
                ("weight's gradient", &gradient.weight, &reference.weight.grad()),
                ("bias's gradient", &gradient.bias, &reference.bias.grad()),
            ],
        )
    });
    named("bn_bn_relu", &[("output", &y, &expected)]).into_iter().chain(gradients).collect()
}

fn blurs(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    let stored = activations(kernels, sizes);
    let parameters = Parameters::new(kernels, sizes[1]);
    let statistics = kernels.batch_statistics(&stored, &parameters.norm()).unwrap();
    let (x, reference) = (leaf(&stored), parameters.reference());
    let of_normed = blur(&reference.train(&x).relu(), 1);
    named(
        "blur",
        &[
            ("stride 1", &kernels.blur(&stored).unwrap(), &blur(&x, 1)),
            ("stride 2", &kernels.blur_halve(&stored).unwrap(), &blur(&x, 2)),
            ("bn_relu_blur", &kernels.bn_relu_blur(&stored, &statistics).unwrap(), &of_normed),
            (
                "mean",
                &kernels.mean(&stored).unwrap(),
                &x.mean_dim([2_i64, 3].as_slice(), true, Kind::Double),
            ),
        ],
    )
}

fn pools(kernels: &Kernels, sizes: [i64; 4]) -> Errors {
    let [n, c, h, w] = sizes;
    let all = [("pool", Pool::Stride2), ("pool and blur", Pool::Blurred)];
    let errors = all.into_iter().flat_map(|(name, pool)| {
        let stored = activations(kernels, sizes);
        let dy = activations(kernels, [n, c, (h + 1) / 2, (w + 1) / 2]);
        let parameters = Parameters::new(kernels, c);
        let (x, reference) = (leaf(&stored), parameters.reference());
        let statistics = kernels.batch_statistics(&stored, &parameters.norm()).unwrap();
        let (y, taps) = kernels.bn_relu_pool(&stored, &statistics, pool).unwrap();
        let normed = reference.train(&x).relu();
        // The maximum is over numbers as they are stored, and the gradient passes the rounding.
        let rounded = kernels.bn_relu(&stored, &statistics).unwrap().to_kind(Kind::Double);
        let normed = (rounded - &normed).detach() + normed;
        let expected = match pool {
            Pool::Stride2 => max_pool(&normed, 2),
            Pool::Blurred => blur(&max_pool(&normed, 1), 2),
        };
        (&expected * leaf(&dy)).sum(Kind::Double).backward();
        let gradient =
            kernels.bn_relu_pool_backward(&dy, &taps, &stored, &statistics, pool).unwrap();
        named(
            name,
            &[
                ("output", &y, &expected),
                ("input's gradient", &gradient.x, &x.grad()),
                ("weight's gradient", &gradient.weight, &reference.weight.grad()),
                ("bias's gradient", &gradient.bias, &reference.bias.grad()),
            ],
        )
    });
    errors.collect()
}

fn space_to_depth(kernels: &Kernels, [n, _, h, w]: [i64; 4]) -> Errors {
    let arithmetic = kernels.storage().arithmetic();
    let images = noise::normal(&[n, 3, h, w]).to_device(kernels.device).to_kind(arithmetic);
    let [bottom, right] = [h, w].map(|size| 2 + size % 2);
    // Two cells of zeros before the image, one behind it, and a fourth colour.
    let padded = images.to_kind(Kind::Double).constant_pad_nd([4, right, 4, bottom, 0, 1]);
    let cells = padded.pixel_unshuffle(2); // [N, 4 x 2 x 2, ..]
    let [_, _, rows, columns] = cells.size()[..] else { unreachable!("[N, C, H, W]") };
    let cells = cells.view([n, 4, 2, 2, rows, columns]).permute([0, 2, 3, 1, 4, 5]);
    let expected = cells.reshape([n, 16, rows, columns]);
    let of_rows = kernels.space_to_depth(&images).unwrap();
    let channels_last = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let of_channels_last = kernels.space_to_depth(&channels_last).unwrap();
    let pairs = [("channels first", &of_rows), ("channels last", &of_channels_last)];
    named("space_to_depth", &pairs.map(|(name, actual)| (name, actual, &expected)))
}

#[test]
fn every_operation_equals_libtorch_in_every_format() {
    for (storage, tolerance) in FORMATS {
        let (kernels, shapes) = kernels_and_shapes(storage);
        for sizes in shapes {
            for (name, error) in errors(&kernels, sizes) {
                assert!(error < tolerance, "{storage:?} {sizes:?} {name}: {error:e}");
            }
        }
        assert_eq!(
            kernels.counters.count_nonzero(None).int64_value(&[]),
            0,
            "counters are back at 0"
        );
    }
}

#[test]
fn the_order_in_which_blocks_finish_changes_no_bit() {
    // Every block does the work of its opposite, so that the last one becomes the first.
    let text = TEXT.concat().replace("blockIdx.x", "(gridDim.x - 1 - blockIdx.x)");
    for storage in [Storage::Fp32, Storage::Bf16] {
        let (forwards, backwards) =
            (Kernels::emulated(storage), Kernels::emulated_from(storage, &text));
        for sizes in SHAPES {
            assert_eq!(
                errors(&forwards, sizes),
                errors(&backwards, sizes),
                "{storage:?} {sizes:?}"
            );
        }
    }
}

/// What the kernels with sums over the batch compute, and those that depend on them.
fn results(kernels: &Kernels, sizes: [i64; 4]) -> Vec<Tensor> {
    noise::restart();
    let [n, c, h, w] = sizes;
    let [x, other, dy] = [(); 3].map(|()| activations(kernels, sizes));
    let half_dy = activations(kernels, [n, c, (h + 1) / 2, (w + 1) / 2]);
    let parameters = Parameters::new(kernels, c);
    let [of_x, of_other] =
        [&x, &other].map(|x| kernels.batch_statistics(x, &parameters.norm()).unwrap());
    let (y, mask) = kernels.bn_bn_relu(&x, &of_x, &other, &of_other).unwrap();
    let incoming = Incoming::Blurred(&dy, &half_dy);
    let (one, two) =
        kernels.bn_bn_relu_backward(&incoming, &mask, &x, &of_x, &other, &of_other).unwrap();
    let pools = [Pool::Stride2, Pool::Blurred].into_iter().flat_map(|pool| {
        let (y, taps) = kernels.bn_relu_pool(&x, &of_x, pool).unwrap();
        let dx = kernels.bn_relu_pool_backward(&half_dy, &taps, &x, &of_x, pool).unwrap();
        [y, dx.x, dx.weight, dx.bias]
    });
    let norms = [one, two].into_iter().flat_map(|norm| [norm.x, norm.weight, norm.bias]);
    [y, of_x.shallow_clone()].into_iter().chain(pools).chain(norms).collect()
}

#[test]
fn repeats_are_equal_bit_for_bit() {
    for storage in [Storage::Fp32, Storage::Bf16] {
        let (kernels, shapes) = kernels_and_shapes(storage);
        for sizes in shapes {
            let [first, second] = [(); 2].map(|()| results(&kernels, sizes));
            assert!(first.iter().zip(&second).all(|(a, b)| a == b), "{storage:?} {sizes:?}");
        }
    }
}

#[test]
fn a_mean_far_from_zero_costs_no_precision() {
    let kernels = kernels_and_shapes(Storage::Fp32).0;
    let x = activations(&kernels, [2, 8, 5, 7]) + 1000.0;
    let parameters = Parameters::new(&kernels, 8);
    let statistics = kernels.batch_statistics(&x, &parameters.norm()).unwrap();
    let y = kernels.bn_relu(&x, &statistics).unwrap();
    let expected = parameters.reference().train(&leaf(&x)).relu();
    // fp32 has steps of 6e-5 at 1000.
    assert!(relative_error(&y, &expected) < 1e-3);
}

#[test]
fn what_is_not_a_number_stays_so() {
    let kernels = kernels_and_shapes(Storage::Bf16).0;
    let mut x = activations(&kernels, [2, 8, 5, 7]);
    let _ = x.narrow(0, 0, 1).fill_(f64::NAN);
    let parameters = Parameters::new(&kernels, 8);
    let statistics = kernels.batch_statistics(&x, &parameters.norm()).unwrap();
    let y = kernels.bn_relu(&x, &statistics).unwrap();
    assert!(bool::try_from(y.isnan().all()).unwrap());
    x = kernels.bn_relu_pool(&x, &statistics, Pool::Blurred).unwrap().0;
    assert!(bool::try_from(x.isnan().all()).unwrap());
}
