//! Builds the C++ bridge to libtorch and records libtorch's location and the commit.

use std::{env, error::Error, path::Path, process::Command};

/// The libtorch version for whose C++ interfaces the bridge is written.
const TORCH: &str = "2.11.0";
const BRIDGE: &str = "src/libtorch";

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
        build_cuda(torch)?;
        // Other launchers start `mlperf-rank` without LD_LIBRARY_PATH. In a Python environment it finds
        // that environment's torch, which exists for these versions of Python.
        for minor in 10..=14 {
            let torch = format!("$ORIGIN/../lib/python3.{minor}/site-packages/torch/lib");
            println!("cargo:rustc-link-arg-bin=mlperf-rank=-Wl,-rpath,{torch}");
        }
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        // The library contains torch code that `mlperf-run` never calls. The linker drops it, and
        // with it the dependency on libtorch, if no shared library can reach into it.
        println!("cargo:rustc-link-arg-bin=mlperf-run=-Wl,--exclude-libs,ALL");
        println!("cargo:rustc-env=MLPERF_RUN_LIBTORCH_LIB={lib}");
    }
    Ok(())
}

fn stamp_commit() {
    // Rerun at every commit and checkout of this working tree, but not of others.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let mut version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=12"]) {
        println!("cargo:rustc-env=MLPERF_RUN_COMMIT={commit}");
        version = format!("{version} ({commit})");
    }
    println!("cargo:rustc-env=MLPERF_RUN_VERSION={version}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let done = Command::new("git").args(arguments).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// C++ interfaces differ between versions; a wrong version would crash instead of failing to load.
fn check_version(torch: &Path) -> Result<(), Box<dyn Error>> {
    let file = torch.join("version.py");
    let text = std::fs::read_to_string(&file).map_err(|e| {
        format!("{}: {e}; run scripts/setup, which installs libtorch there", file.display())
    })?;
    if text.contains(&format!("'{TORCH}")) {
        return Ok(());
    }
    Err(format!("{} is not libtorch {TORCH}; run scripts/setup", torch.display()).into())
}

#[cfg(feature = "torch")]
fn build_bridge(torch: &Path) -> Result<(), Box<dyn Error>> {
    bridge_compiler(torch)
        .define("USE_C10D_GLOO", None)
        .include(format!("{BRIDGE}/stubs"))
        .files(
            ["group.cc", "device.cc", "ops.cc", "params.cc", "lists.cc", "node.cc"]
                .map(|file| format!("{BRIDGE}/{file}")),
        )
        .try_compile("mlbridge")?;
    Ok(())
}

/// Code that requires a libtorch with CUDA is in a separate library, which `mlperf-rank` contains
/// and loads if there is one. Of CUDA it uses the runtime's headers; stubs declare the names that
/// libtorch's headers use from the others. Without CUDA headers, the build embeds an empty file.
#[cfg(feature = "torch")]
fn build_cuda(torch: &Path) -> Result<(), Box<dyn Error>> {
    let library = Path::new(&env::var("OUT_DIR")?).join("mlcuda.so");
    println!("cargo:rustc-env=MLPERF_RUN_CUDA_BRIDGE={}", library.display());
    let cuda = torch.join("../nvidia/cu13/include");
    if !(cuda.join("cuda_runtime_api.h").exists() && cuda.join("crt/host_defines.h").exists()) {
        println!("cargo:warning={}: no headers of CUDA 13; GPUs will not work", cuda.display());
        return Ok(std::fs::write(&library, [])?);
    }
    let mut compiler = bridge_compiler(torch);
    compiler
        .define("USE_C10D_NCCL", None)
        .include(format!("{BRIDGE}/stubs/cuda"))
        .flag(format!("-isystem{}", cuda.display()))
        .flag(format!("-isystem{}", cuda.join("cccl").display()));
    let mut command = compiler.try_get_compiler()?.to_command();
    command.args(["-shared", "-o"]).arg(&library).arg(format!("{BRIDGE}/cuda.cc"));
    match command.status()? {
        done if done.success() => Ok(()),
        failed => Err(format!("{BRIDGE}/cuda.cc does not compile: {failed}").into()),
    }
}

#[cfg(feature = "torch")]
fn bridge_compiler(torch: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .flag(format!("-isystem{}", torch.join("include").display()))
        .flag(format!("-isystem{}", torch.join("include/torch/csrc/api/include").display()));
    build
}
