//! A GPU's compiled kernels, through CUDA's driver.
#![expect(unsafe_code, reason = "calls the C interface of CUDA's driver")]

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    path::Path,
    ptr,
};

use libloading::Library;

use super::{
    Storage, TEXT, cache,
    nvrtc::{Nvrtc, options},
};
use crate::libtorch::bridge::BridgeError;

type Handle = *mut c_void;
type RetainContext = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;
type SetContext = unsafe extern "C" fn(Handle) -> c_int;
type LoadModule = unsafe extern "C" fn(*mut Handle, *const c_void) -> c_int;
type GetFunction = unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> c_int;
type FunctionAttribute = unsafe extern "C" fn(*mut c_int, c_int, Handle) -> c_int;
type DeviceAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;
type Launch = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    Handle,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;

// Numbers of attributes, from cuda.h.
const NUM_MULTIPROCESSORS: c_int = 16;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
/// Of a function: its launch bound.
const MAX_THREADS: c_int = 0;

/// All kernels of the text.
pub(super) const NAMES: [&CStr; 30] = [
    c"batch_statistics",
    c"running_statistics",
    c"bn_relu",
    c"bn_add_relu",
    c"bn_bn_relu",
    c"reduce_relu",
    c"reduce_add_one",
    c"reduce_add_sum",
    c"reduce_add_blurred",
    c"reduce_add_mean",
    c"reduce_pair_one",
    c"reduce_pair_sum",
    c"reduce_pair_blurred",
    c"reduce_pair_mean",
    c"apply_relu",
    c"apply_masked",
    c"blur",
    c"bn_relu_blur",
    c"blur_halve",
    c"bn_relu_pool",
    c"bn_relu_pool_blur",
    c"reduce_pool_stride2",
    c"reduce_pool_blurred",
    c"apply_pool_stride2",
    c"apply_pool_blurred",
    c"spatial_mean",
    c"space_to_depth",
    c"square_sums",
    c"trust_ratios",
    c"update_weights",
];

/// The driver, and the kernels on one GPU.
pub(super) struct Gpu {
    index: c_int,
    /// libtorch's context on this GPU. Threads that have not used the GPU have none yet.
    context: Handle,
    kernels: HashMap<&'static CStr, Kernel>,
    set_context: SetContext,
    launch: Launch,
    driver: Library,
}

/// A loaded kernel.
struct Kernel {
    function: Handle,
    /// Threads of a block.
    threads: c_uint,
}

impl Gpu {
    /// Compiles the kernels for GPU `index`, or reads them from `folder`, and loads them.
    pub(super) fn load(index: usize, storage: Storage, folder: &Path) -> Result<Self, BridgeError> {
        // SAFETY: the driver's constructors have no requirements; libtorch has loaded it already.
        let driver = unsafe { Library::new("libcuda.so.1") }
            .map_err(|e| BridgeError::new(&e.to_string()))?;
        let mut gpu = Self {
            index: index as c_int,
            context: ptr::null_mut(),
            kernels: HashMap::new(),
            set_context: function(&driver, b"cuCtxSetCurrent\0")?,
            launch: function(&driver, b"cuLaunchKernel\0")?,
            driver,
        };
        let cubin = gpu.cubin(storage, folder)?;
        let retain = function::<RetainContext>(&gpu.driver, b"cuDevicePrimaryCtxRetain\0")?;
        // SAFETY: `context` outlives the call. A device's handle is its number.
        let code = unsafe { retain(&raw mut gpu.context, gpu.index) };
        gpu.check(code)?;
        // SAFETY: the context has just been retained.
        gpu.check(unsafe { (gpu.set_context)(gpu.context) })?;
        let load = function::<LoadModule>(&gpu.driver, b"cuModuleLoadData\0")?;
        let mut module = ptr::null_mut();
        // SAFETY: `cubin` is a whole image, and this thread has a context.
        gpu.check(unsafe { load(&raw mut module, cubin.as_ptr().cast()) })?;
        gpu.kernels = NAMES
            .iter()
            .map(|&name| Ok((name, gpu.kernel(module, name)?)))
            .collect::<Result<_, _>>()?;
        Ok(gpu)
    }

    /// Kernel `name` of `module`.
    fn kernel(&self, module: Handle, name: &CStr) -> Result<Kernel, BridgeError> {
        let get = function::<GetFunction>(&self.driver, b"cuModuleGetFunction\0")?;
        let attribute = function::<FunctionAttribute>(&self.driver, b"cuFuncGetAttribute\0")?;
        let (mut kernel, mut threads) = (ptr::null_mut(), 0);
        // SAFETY: the module is never unloaded, and `kernel` outlives the call.
        self.check(unsafe { get(&raw mut kernel, module, name.as_ptr()) })?;
        // SAFETY: as above, for the function.
        self.check(unsafe { attribute(&raw mut threads, MAX_THREADS, kernel) })?;
        Ok(Kernel { function: kernel, threads: threads as c_uint })
    }

    /// Machine code of the kernels.
    fn cubin(&self, storage: Storage, folder: &Path) -> Result<Vec<u8>, BridgeError> {
        let architecture =
            10 * self.attribute(CAPABILITY_MAJOR)? + self.attribute(CAPABILITY_MINOR)?;
        let (nvrtc, text) = (Nvrtc::load()?, TEXT.concat());
        let options = options(storage, architecture).join(" ");
        let key = cache::key(&[&text, &options, &nvrtc.version()?]);
        let path = folder.join(format!("kernels-{key}.cubin"));
        if let Some(cubin) = cache::read(&path) {
            return Ok(cubin);
        }
        let cubin = nvrtc.compile(&text, storage, architecture)?.cubin;
        // A folder that cannot be written costs time only: the next run compiles again.
        let _ = cache::write(&path, &cubin);
        Ok(cubin)
    }

    /// Multiprocessors of the GPU; 1 if the driver does not say.
    pub(super) fn num_sms(&self) -> i64 {
        self.attribute(NUM_MULTIPROCESSORS).map_or(1, i64::from)
    }

    /// Queues a kernel on `stream`.
    ///
    /// # Safety
    ///
    /// `arguments` must hold the addresses of the arguments of the kernel's definition.
    pub(super) unsafe fn launch(
        &self,
        name: &CStr,
        [x, y]: [u32; 2],
        stream: Handle,
        arguments: &mut [*mut c_void],
    ) -> Result<(), BridgeError> {
        let unknown = || BridgeError::new(&format!("no fused kernel is called {name:?}"));
        let Kernel { function, threads } = *self.kernels.get(name).ok_or_else(unknown)?;
        // SAFETY: the context has been retained.
        self.check(unsafe { (self.set_context)(self.context) })?;
        // SAFETY: the caller promises the arguments.
        self.check(unsafe {
            let (arguments, extra) = (arguments.as_mut_ptr(), ptr::null_mut());
            (self.launch)(function, x, y, 1, threads, 1, 1, 0, stream, arguments, extra)
        })
    }

    fn attribute(&self, attribute: c_int) -> Result<i32, BridgeError> {
        let get = function::<DeviceAttribute>(&self.driver, b"cuDeviceGetAttribute\0")?;
        let mut value = 0;
        // SAFETY: `value` outlives the call. A device's handle is its number.
        self.check(unsafe { get(&raw mut value, attribute, self.index) })?;
        Ok(value)
    }

    fn check(&self, code: c_int) -> Result<(), BridgeError> {
        if code == 0 {
            return Ok(());
        }
        let mut text = ptr::null();
        if let Ok(get) = function::<ErrorString>(&self.driver, b"cuGetErrorString\0") {
            // SAFETY: `text` outlives the call.
            unsafe { get(code, &raw mut text) };
        }
        let reason = if text.is_null() {
            format!("code {code}")
        } else {
            // SAFETY: a constant of the driver.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        Err(BridgeError::new(&format!("a fused kernel failed: {reason}")))
    }
}

/// A function of the driver.
fn function<F: Copy>(driver: &Library, name: &[u8]) -> Result<F, BridgeError> {
    // SAFETY: every use in this file gives the type of cuda.h.
    let found = unsafe { driver.get::<F>(name) };
    found.map(|function| *function).map_err(|e| BridgeError::new(&e.to_string()))
}
