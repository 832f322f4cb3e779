// Runs the kernels on the processor: each CUDA thread is a fiber, __syncthreads() switches to the next
// one, and blocks run one after another. Shared memory starts as NaN, so that a missing barrier or
// a read of what nobody wrote shows in the result.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define EMULATED
#define DEVICE inline
using std::min;
using std::sqrt;

namespace emulation {
struct Index {
  int x, y, z;
};
constexpr int kMaxThreads = 512;
constexpr size_t kStackBytes = 64 << 10, kSharedBytes = 64 << 10;

// Saves the registers that a call preserves, and the stack pointer, then continues another fiber.
extern "C" void ml_switch_fiber(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.type ml_switch_fiber, @function
ml_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ml_switch_fiber, .-ml_switch_fiber
)");
#else
#error "kernels are emulated on x86-64 only"
#endif

struct Kernel {
  int threads;
  void (*call)(void** arguments);
};

inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

// The state of one thread of the host, which runs one launch at a time.
struct Machine {
  std::vector<char> stacks, shared;
  std::vector<std::pair<int, size_t>> in_use;  // line of the text, offset in `shared`
  void* fibers[kMaxThreads];
  bool is_done[kMaxThreads];
  void* scheduler;
  size_t shared_used;
  int thread;
  const Kernel* kernel;
  void** arguments;
};
inline thread_local Machine machine;
inline thread_local Index thread_index, block_index, grid_size;

inline void run_fiber() {
  machine.kernel->call(machine.arguments);
  machine.is_done[machine.thread] = true;
  ml_switch_fiber(&machine.fibers[machine.thread], machine.scheduler);
  std::abort();  // a fiber that is done is not continued
}

// A new stack, which looks as if run_fiber had been about to be called.
inline void* new_fiber(int thread) {
  char* end = machine.stacks.data() + (thread + 1) * kStackBytes;
  void** top = (void**)((size_t)end & ~size_t(15));
  *--top = nullptr;  // keeps the alignment that a call would give
  *--top = (void*)&run_fiber;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  return top;
}

inline void run_block() {
  std::memset(machine.shared.data(), 0xff, kSharedBytes);
  machine.in_use.clear();
  machine.shared_used = 0;
  int threads = machine.kernel->threads;
  for (int t = 0; t < threads; t++) {
    machine.fibers[t] = new_fiber(t);
    machine.is_done[t] = false;
  }
  for (bool any = true; any;) {
    any = false;
    for (int t = 0; t < threads; t++) {
      if (machine.is_done[t]) continue;
      machine.thread = t;
      thread_index = {t, 0, 0};
      ml_switch_fiber(&machine.scheduler, machine.fibers[t]);
      any = any || !machine.is_done[t];
    }
  }
}

// Shared memory of the declaration in this line, the same for all threads of a block.
inline void* shared_memory(int line, size_t bytes) {
  for (auto& [known, offset] : machine.in_use)
    if (known == line) return machine.shared.data() + offset;
  size_t offset = machine.shared_used;
  machine.shared_used += (bytes + 15) / 16 * 16;
  if (machine.shared_used > kSharedBytes) std::abort();
  machine.in_use.push_back({line, offset});
  return machine.shared.data() + offset;
}

template <class... P, size_t... I>
void call_with(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
  kernel(*(std::remove_reference_t<P>*)arguments[I]...);
}
template <class... P>
void call(void (*kernel)(P...), void** arguments) {
  call_with(kernel, arguments, std::index_sequence_for<P...>());
}

struct Registration {
  Registration(const char* name, Kernel kernel) { kernels()[name] = kernel; }
};
}  // namespace emulation

#define threadIdx emulation::thread_index
#define blockIdx emulation::block_index
#define gridDim emulation::grid_size
#define SHARED(type, name, count) \
  type* name = (type*)emulation::shared_memory(__LINE__, (count) * sizeof(type))
#define KERNEL(name, threads, blocks_per_sm, parameters)                                       \
  static void name parameters;                                                                 \
  static const emulation::Registration name##_registration(                                    \
      #name, {threads, [](void** arguments) { emulation::call(&name, arguments); }});          \
  static void name parameters

inline void __syncthreads() {
  emulation::ml_switch_fiber(&emulation::machine.fibers[emulation::machine.thread],
                             emulation::machine.scheduler);
}
inline void __threadfence() {}
inline unsigned atomicAdd(unsigned* at, unsigned value) {
  unsigned before = *at;
  *at += value;
  return before;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

#if defined(STORAGE_BF16)
inline unsigned to_bf16(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return (bits >> 16) | 0x40;  // rounding could turn a NaN into infinity
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline unsigned pack_pair(float low, float high) { return to_bf16(low) | to_bf16(high) << 16; }
#elif defined(STORAGE_FP16)
inline unsigned to_fp16(float value) {
  _Float16 half = (_Float16)value;
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
inline unsigned pack_pair(float low, float high) { return to_fp16(low) | to_fp16(high) << 16; }
inline float half_to_float(unsigned bits) {
  unsigned short in_memory = (unsigned short)bits;
  _Float16 half;
  std::memcpy(&half, &in_memory, 2);
  return (float)half;
}
#endif

// Runs a kernel. Returns 1 if there is none of this name.
extern "C" __attribute__((visibility("default"))) int ml_emulate(const char* name, unsigned grid_x,
                                                                 unsigned grid_y,
                                                                 void** arguments) {
  using namespace emulation;
  auto found = kernels().find(name);
  if (found == kernels().end()) return 1;
  machine.stacks.resize(kMaxThreads * kStackBytes);
  machine.shared.resize(kSharedBytes);
  machine.kernel = &found->second;
  machine.arguments = arguments;
  grid_size = {(int)grid_x, (int)grid_y, 1};
  for (int y = 0; y < (int)grid_y; y++) {
    for (int x = 0; x < (int)grid_x; x++) {
      block_index = {x, y, 0};
      run_block();
    }
  }
  return 0;
}
