//! NVRTC compiles the text. It needs no GPU.

use std::path::Path;

use super::{
    super::{driver::NAMES, nvrtc::Nvrtc},
    *,
};

/// What ptxas says of a kernel that keeps all its variables in registers.
const NO_SPILLS: &str = "0 bytes spill stores, 0 bytes spill loads";

fn nvrtc() -> Nvrtc {
    // Loads libtorch; scripts/setup installs NVRTC next to it.
    drop(Tensor::from(0.0));
    Nvrtc::load().expect("NVRTC; scripts/setup installs it")
}

#[test]
fn kernels_compile_for_every_architecture_without_spills() {
    let nvrtc = nvrtc();
    let newest = *nvrtc.architectures().unwrap().last().expect("architectures");
    let text = TEXT.concat();
    for storage in [Storage::Bf16, Storage::Fp16, Storage::Fp32] {
        for architecture in [80, 90, newest] {
            let compiled = nvrtc.compile(&text, storage, architecture).unwrap();
            assert!(compiled.cubin.starts_with(b"\x7fELF"));
            let spills: Vec<_> = compiled.log.lines().filter(|l| l.contains("spill")).collect();
            assert_eq!(spills.len(), NAMES.len(), "ptxas names every kernel:\n{}", compiled.log);
            for name in NAMES {
                let name = format!("'{}'", name.to_string_lossy());
                assert!(compiled.log.contains(&name), "no kernel is called {name}");
            }
            for line in spills {
                assert!(
                    line.contains(NO_SPILLS),
                    "{storage:?} sm_{architecture}:\n{}",
                    compiled.log
                );
            }
        }
    }
}

#[test]
fn an_error_names_the_line() {
    let text = TEXT.concat().replacen("A(0.5)", "A(0.5", 1);
    let error = nvrtc().compile(&text, Storage::Bf16, 90).err().expect("an error").to_string();
    assert!(error.contains("sm_90") && error.contains("kernels.cu("), "{error}");
}

#[test]
fn a_machine_without_a_gpu_says_so() {
    let folder = Path::new("/nonexistent");
    assert!(Kernels::cuda(0, Storage::Bf16, folder).is_err());
}
