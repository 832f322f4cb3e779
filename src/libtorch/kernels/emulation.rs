//! The kernels' text, compiled for the processor.
#![expect(unsafe_code, reason = "calls a library that it has compiled")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libloading::Library;

use super::{Storage, cache};

type Run = unsafe extern "C" fn(*const c_char, u32, u32, *mut *mut c_void) -> c_int;

/// Strict aliasing is off because the text reads numbers of all formats through 16-byte vectors.
/// Symbols are hidden because a process loads one program per format, with functions of equal names.
const OPTIONS: [&str; 8] = [
    "-std=c++17",
    "-O2",
    "-w",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-shared",
    "-fPIC",
];

/// A loaded library of emulated kernels.
pub(in crate::libtorch) struct Program {
    library: Library,
}

impl Program {
    /// Compiles `text` with the emulation's definitions, unless an earlier test did.
    pub(in crate::libtorch) fn compiled(storage: Storage, text: &str) -> Self {
        let text = format!("{}\n{text}", include_str!("cuda/emulation.h"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kernels");
        let name = cache::key(&[storage.macro_name(), &OPTIONS.join(" "), &text]);
        let path = folder.join(format!("{name}.so"));
        if !path.exists() {
            fs::create_dir_all(&folder).expect("a folder for kernels");
            compile(storage, &text, &folder, &path);
        }
        // SAFETY: the library's constructors only fill its table of kernels.
        let library = unsafe { Library::new(&path) }.expect("a library");
        Self { library }
    }

    /// Runs a kernel.
    ///
    /// # Safety
    ///
    /// The addresses must be those of the arguments of the kernel's definition.
    pub(super) unsafe fn run(&self, name: &CStr, grid: [u32; 2], addresses: &mut [*mut c_void]) {
        // SAFETY: this is the function's type in emulation.h.
        let run = unsafe { self.library.get::<Run>(b"ml_emulate\0") }.expect("the function");
        // SAFETY: the caller promises it.
        let unknown = unsafe { run(name.as_ptr(), grid[0], grid[1], addresses.as_mut_ptr()) };
        assert_eq!(unknown, 0, "no kernel is called {name:?}");
    }
}

/// Compiles into a new folder and then renames the library, because tests run at the same time.
fn compile(storage: Storage, text: &str, folder: &Path, path: &PathBuf) {
    let scratch = tempfile::tempdir_in(folder).expect("a folder");
    let (source, library) = (scratch.path().join("kernels.cc"), scratch.path().join("kernels.so"));
    fs::write(&source, text).expect("a source file");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let output = Command::new(compiler)
        .args(OPTIONS)
        .arg(format!("-D{}", storage.macro_name()))
        .arg("-o")
        .args([&library, &source])
        .output()
        .expect("a C++ compiler");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the kernels do not compile:\n{messages}");
    fs::rename(&library, path).expect("a library");
}
