//! The tests notice faults in the kernels' text.

use super::{operations::errors, *};

/// A part of the text, and what a mistake could make of it.
const FAULTS: [(&str, &str); 18] = [
    // Barriers.
    ("sums[k];\n  __syncthreads();", "sums[k];"),
    ("rows = half;\n    __syncthreads();", "rows = half;"),
    // Reductions.
    ("part.row + half < rows", "part.row + half + 1 < rows"),
    ("block += part.rows_at_once", "block += part.rows_at_once + 1"),
    ("counters[blockIdx.y] = 0;", ";"),
    (
        "rows_at_once = REDUCE_THREADS / part.lanes",
        "rows_at_once = REDUCE_THREADS / part.lanes + 1",
    ),
    // Batch norm.
    ("A(rows) / A(rows - 1)", "A(1)"),
    ("mean = pivot[j] + deviation", "mean = deviation"),
    ("-scale * sum / rows - slope * mean", "-scale * sum / rows"),
    ("passed |= (value > 0 ? 1u : 0u) << j", "passed |= (value > 0 ? 1u : 0u) << (7 - j)"),
    ("for (int j = 0; j < 8; j++) g[j] /= area;", ""),
    // Blur.
    ("from_h >= places.half_height) continue", "false) continue"),
    ("above[j] = here[j];", ""),
    // Pool.
    ("values[j] > best[j] ||", "values[j] >= best[j] ||"),
    ("rows[r % 3][c].clear();", ";"),
    ("row * 3 + column;\n#pragma", "column * 3 + row;\n#pragma"),
    // Stem.
    ("w >= 0 && w < width;", "w >= 0;"),
    ("place.channel / 8;\n  ", "1 - place.channel / 8;\n  "),
];

#[test]
fn planted_faults_are_caught() {
    let text = TEXT.concat();
    let sizes = [[3, 8, 5, 7], [2, 264, 2, 3], [2, 16, 23, 30], [3, 264, 19, 18]];
    for (right, wrong) in FAULTS {
        assert!(text.contains(right), "{right} is not in the text");
        // bf16, so that equal maxima occur.
        let kernels = Kernels::emulated_from(Storage::Bf16, &text.replacen(right, wrong, 1));
        let errors = sizes.into_iter().flat_map(|sizes| errors(&kernels, sizes));
        let worst = errors.map(|(_, error)| error).fold(0.0, f64::max);
        assert!(worst > 4e-3, "{right} -> {wrong} has a largest error of {worst:e}");
    }
}
