//! tmp
fn main() {
    let p = mlperf_run::data::synth::ensure(&mlperf_run::data::SynthConfig::default(), std::path::Path::new("/tmp/cache"), None);
    println!("{:?}", p);
}
