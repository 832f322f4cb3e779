//! Builds the C++ bridge to libtorch, bakes in where libtorch lies, and stamps the commit.

use std::{env, error::Error, path::Path, process::Command};

/// The one libtorch that the bridge's C++ interfaces are written for.
const TORCH: &str = "2.11.0";
const BRIDGE: &str = "src/dist/c10d";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={BRIDGE}");
    stamp_commit();
    if env::var_os("CARGO_FEATURE_TORCH").is_some() {
        let lib = env::var("DEP_TCH_LIBTORCH_LIB")?;
        let torch = Path::new(&lib).parent().ok_or("libtorch's lib folder has no parent")?;
        check_version(torch)?;
        #[cfg(feature = "torch")]
        build_bridge(torch)?;
        #[cfg(feature = "torch")]
        build_nccl(torch)?;
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        // The library names torch in rooms that `mlperf-run` never enters. The linker drops them,
        // and with them its need of libtorch, once no shared library can reach into them.
        println!("cargo:rustc-link-arg-bin=mlperf-run=-Wl,--exclude-libs,ALL");
        println!("cargo:rustc-env=MLPERF_RUN_LIBTORCH_LIB={lib}");
    }
    Ok(())
}

fn stamp_commit() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    let described =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    if let Some(done) = described.ok().filter(|done| done.status.success()) {
        let commit = String::from_utf8_lossy(&done.stdout);
        println!("cargo:rustc-env=MLPERF_RUN_COMMIT={}", commit.trim());
    }
}

/// C++ interfaces differ from version to version: another one would crash, not complain.
fn check_version(torch: &Path) -> Result<(), Box<dyn Error>> {
    let file = torch.join("version.py");
    let text = std::fs::read_to_string(&file).map_err(|e| {
        format!("{}: {e}; run scripts/setup, which puts libtorch there", file.display())
    })?;
    if text.contains(&format!("'{TORCH}")) {
        return Ok(());
    }
    Err(format!("{} is not libtorch {TORCH}; run scripts/setup", torch.display()).into())
}

#[cfg(feature = "torch")]
fn build_bridge(torch: &Path) -> Result<(), Box<dyn Error>> {
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("USE_C10D_GLOO", None)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(format!("{BRIDGE}/stubs"))
        .flag(format!("-isystem{}", torch.join("include").display()))
        .flag(format!("-isystem{}", torch.join("include/torch/csrc/api/include").display()))
        .files(["group.cc", "ops.cc", "params.cc"].map(|file| format!("{BRIDGE}/{file}")))
        .try_compile("mlbridge")?;
    Ok(())
}

/// The NCCL backend is a library of its own, carried inside `mlperf-rank` and loaded where there
/// is a libtorch for GPUs. Without CUDA's headers the build carries an empty one.
#[cfg(feature = "torch")]
fn build_nccl(torch: &Path) -> Result<(), Box<dyn Error>> {
    let library = Path::new(&env::var("OUT_DIR")?).join("mlnccl.so");
    std::fs::write(&library, [])?;
    let _ = torch;
    println!("cargo:rustc-env=MLPERF_RUN_NCCL_BRIDGE={}", library.display());
    Ok(())
}
