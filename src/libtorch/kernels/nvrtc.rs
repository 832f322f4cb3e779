//! NVRTC, CUDA's compiler at run time, loaded when it is needed.
#![expect(unsafe_code, reason = "calls the C interface of NVRTC")]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    fs,
    path::{Path, PathBuf},
    ptr,
};

use libloading::Library;

use super::Storage;
use crate::libtorch::bridge::BridgeError;

const LIBRARY: &str = "libnvrtc.so.13";

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const c_void,
    *const c_void,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type GetBytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;

/// The loaded library.
pub(super) struct Nvrtc {
    library: Library,
    /// The library of built-in functions. NVRTC loads it by name and would not find it in a wheel.
    _builtins: Option<Library>,
}

/// A compiled program.
pub(super) struct Compiled {
    /// Machine code for one architecture.
    pub cubin: Vec<u8>,
    /// The compiler's messages, which include the resources of each kernel.
    #[cfg(test)]
    pub log: String,
}

impl Nvrtc {
    /// Loads the library that libtorch brings, or the system's.
    pub(super) fn load() -> Result<Self, BridgeError> {
        let mut problem = String::new();
        for path in candidates() {
            let builtins = builtins_next_to(&path);
            // SAFETY: NVRTC's constructors have no requirements.
            match unsafe { Library::new(&path) } {
                Ok(library) => return Ok(Self { library, _builtins: builtins }),
                Err(error) => problem = error.to_string(),
            }
        }
        Err(BridgeError::new(&format!(
            "{LIBRARY} cannot be loaded ({problem}); run scripts/setup on the machine with the GPU, or \
             set MLPERF_RUN_NVRTC to its path"
        )))
    }

    /// Version as "13.0".
    pub(super) fn version(&self) -> Result<String, BridgeError> {
        let version = self.function::<Version>(b"nvrtcVersion\0")?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both numbers outlive the call.
        done("nvrtcVersion", unsafe { version(&raw mut major, &raw mut minor) })?;
        Ok(format!("{major}.{minor}"))
    }

    /// The architectures that it knows, oldest first.
    #[cfg(test)]
    pub(super) fn architectures(&self) -> Result<Vec<i32>, BridgeError> {
        type Num = unsafe extern "C" fn(*mut c_int) -> c_int;
        let num_of = self.function::<Num>(b"nvrtcGetNumSupportedArchs\0")?;
        let get = self.function::<Num>(b"nvrtcGetSupportedArchs\0")?;
        let mut num = 0;
        // SAFETY: `num` outlives the call.
        done("nvrtcGetNumSupportedArchs", unsafe { num_of(&raw mut num) })?;
        let mut all = vec![0; num as usize];
        // SAFETY: `all` has that length.
        done("nvrtcGetSupportedArchs", unsafe { get(all.as_mut_ptr()) })?;
        Ok(all)
    }

    /// Compiles `text` for an architecture, such as 90 for `sm_90`.
    pub(super) fn compile(
        &self,
        text: &str,
        storage: Storage,
        architecture: i32,
    ) -> Result<Compiled, BridgeError> {
        let source = c_string(text)?;
        let options = options(storage, architecture)
            .iter()
            .map(|option| c_string(option))
            .collect::<Result<Vec<_>, _>>()?;
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let (create, compile) = (
            self.function::<Create>(b"nvrtcCreateProgram\0")?,
            self.function::<Compile>(b"nvrtcCompileProgram\0")?,
        );
        let mut program = ptr::null_mut();
        // SAFETY: the strings outlive the call; there are no headers.
        done("nvrtcCreateProgram", unsafe {
            let name = c"kernels.cu".as_ptr();
            create(&raw mut program, source.as_ptr(), name, 0, ptr::null(), ptr::null())
        })?;
        // SAFETY: the options outlive the call.
        let code = unsafe { compile(program, options.len() as c_int, options.as_ptr()) };
        let log = self.bytes(program, b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0");
        let cubin = self.bytes(program, b"nvrtcGetCUBINSize\0", b"nvrtcGetCUBIN\0");
        let destroy = self.function::<Destroy>(b"nvrtcDestroyProgram\0")?;
        // SAFETY: the program exists and is not used again.
        unsafe { destroy(&raw mut program) };
        let log = String::from_utf8_lossy(&log?).trim_end_matches('\0').trim().to_owned();
        if code != 0 {
            let line = log.lines().find(|line| line.contains("error")).unwrap_or("no reason given");
            return Err(BridgeError::new(&format!(
                "the fused kernels do not compile for sm_{architecture}: {line}"
            )));
        }
        Ok(Compiled {
            cubin: cubin?,
            #[cfg(test)]
            log,
        })
    }

    /// A result of a program, whose size has a function of its own.
    fn bytes(&self, program: Program, size: &[u8], get: &[u8]) -> Result<Vec<u8>, BridgeError> {
        let (size, get) = (self.function::<GetSize>(size)?, self.function::<GetBytes>(get)?);
        let mut num = 0;
        // SAFETY: the program exists.
        done("the size of a result", unsafe { size(program, &raw mut num) })?;
        let mut bytes = vec![0_u8; num];
        // SAFETY: `bytes` has that length.
        done("a result", unsafe { get(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    /// A function of the library. `F` must be its type in nvrtc.h.
    fn function<F: Copy>(&self, name: &[u8]) -> Result<F, BridgeError> {
        // SAFETY: every use in this file gives the type of nvrtc.h.
        let found = unsafe { self.library.get::<F>(name) };
        found.map(|function| *function).map_err(|e| BridgeError::new(&e.to_string()))
    }
}

/// Options of the compiler; they are part of the key of cached kernels.
pub(super) fn options(storage: Storage, architecture: i32) -> Vec<String> {
    vec![
        format!("--gpu-architecture=sm_{architecture}"),
        "--std=c++17".to_owned(),
        "--ptxas-options=-v".to_owned(),
        format!("-D{}", storage.macro_name()),
    ]
}

/// Where to look for the library: `MLPERF_RUN_NVRTC`, libtorch's CUDA libraries, the system.
fn candidates() -> Vec<PathBuf> {
    let told = std::env::var_os("MLPERF_RUN_NVRTC").map(PathBuf::from);
    let bundled = libtorch_folder().map(|lib| lib.join("../../nvidia/cu13/lib").join(LIBRARY));
    told.into_iter().chain(bundled).chain([PathBuf::from(LIBRARY)]).collect()
}

/// The library of built-in functions that comes with the NVRTC of this path.
fn builtins_next_to(path: &Path) -> Option<Library> {
    let is_builtins = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc-builtins.so"))
    };
    let files = fs::read_dir(path.parent()?).ok()?;
    let found = files.filter_map(Result::ok).map(|file| file.path()).find(is_builtins)?;
    // SAFETY: a library of data, without constructors.
    unsafe { Library::new(found) }.ok()
}

/// The folder from which this process has loaded libtorch.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    Path::new(&path[path.find('/')?..]).parent().map(Path::to_owned)
}

fn c_string(text: &str) -> Result<CString, BridgeError> {
    CString::new(text).map_err(|e| BridgeError::new(&e.to_string()))
}

fn done(what: &str, code: c_int) -> Result<(), BridgeError> {
    if code == 0 {
        return Ok(());
    }
    Err(BridgeError::new(&format!("NVRTC: {what} failed with code {code}")))
}
