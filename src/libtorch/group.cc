// Process groups and the gradient Reducer.
#include "bridge.h"

#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_div.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <torch/version.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

namespace {
thread_local std::string last_error;
// DDP's first bucket size: a small first bucket starts the all-reduce early.
constexpr size_t kFirstBucketBytes = 1 << 20;
// The batch-norm statistics are broadcast in one bucket.
constexpr size_t kBroadcastBytes = 250 << 20;

// Whether this is a name or an address of the loopback interface, and not only resolved to one.
bool is_loopback(const char* host) {
  return std::strncmp(host, "127.", 4) == 0 || std::strcmp(host, "::1") == 0 ||
         std::strcmp(host, "localhost") == 0;
}

// Frees what getaddrinfo allocates.
struct Addresses {
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first) ::freeaddrinfo(first);
  }
};

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  auto number = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
  return number >> 24 == IN_LOOPBACKNET;
}

void resolve(const char* host, uint16_t port, Addresses& found) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  int code = ::getaddrinfo(host, std::to_string(port).c_str(), &wanted, &found.first);
  TORCH_CHECK(code == 0, "the host of rank 0, '", host, "', has no address (", ::gai_strerror(code),
              "); set MASTER_ADDR to its name or its address");
}

// A socket for rank 0's store at the address of `host` only; a TCPStore without one listens on every
// interface. -1 if the address is not one of this machine's interfaces, as behind a Kubernetes service,
// or if the machine's name means its loopback interface, as on Debian.
int store_socket(const char* host, const addrinfo* addresses) {
  for (const addrinfo* it = addresses; it; it = it->ai_next) {
    if (is_loopback(it->ai_addr) && !is_loopback(host)) continue;
    int fd = ::socket(it->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(fd, it->ai_addr, it->ai_addrlen) == 0)
      return fd;
    int error = errno;
    if (fd >= 0) ::close(fd);
    TORCH_CHECK(error != EADDRINUSE && error != EACCES, "cannot listen at the address of ", host, " (",
                std::strerror(error), "); set another MASTER_PORT");
  }
  return -1;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

// Waits until every rank has said where it is, and names those that do not come.
void wait_for_ranks(c10d::Store& store, const MlWorld* w) {
  auto key_of = [](int rank) { return "arrived/" + std::to_string(rank); };
  store.set(key_of(w->rank), host_name());
  std::vector<std::string> keys;
  for (int rank = 0; rank < w->world_size; rank++) keys.push_back(key_of(rank));
  try {
    return store.wait(keys, std::chrono::milliseconds(w->join_timeout_ms));
  } catch (const std::exception&) {
  }
  std::string missing, arrived;
  int num_missing = 0;
  for (int rank = 0; rank < w->world_size; rank++) {
    bool here = store.check({keys[rank]});
    std::string& list = here ? arrived : missing;
    num_missing += !here;
    if (!list.empty()) list += ", ";
    list += std::to_string(rank);
    if (here) list += " on " + store.get_to_str(keys[rank]);
  }
  TORCH_CHECK(num_missing == 0, num_missing == 1 ? "rank " : "ranks ", missing, " did not arrive within ",
              w->join_timeout_ms / 1000, " s (arrived: ", arrived,
              "); see why they did not start, or raise train.watch.join_timeout_s");
}

// The network through which CPU tensors travel: the named interface, as in PyTorch, or this machine's
// own, or the one of its host name.
std::shared_ptr<gloo::transport::Device> gloo_device(const char* host) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name && *name)
    return c10d::ProcessGroupGloo::createDeviceForInterface(name);
  if (is_loopback(host)) return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return c10d::ProcessGroupGloo::createDefaultDevice();
}
at::ScalarType format_of(uint8_t compression) {
  return compression == 1 ? at::kHalf : at::kBFloat16;
}

// All-reduces a bucket of gradients in a smaller number format, as PyTorch's fp16_compress_hook and
// bf16_compress_hook do.
class CompressHook : public c10d::CppCommHookInterface<c10::intrusive_ptr<c10d::ProcessGroup>> {
 public:
  CompressHook(const c10::intrusive_ptr<c10d::ProcessGroup>& group, at::ScalarType kind)
      : CppCommHookInterface(group), kind_(kind) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    at::Tensor buffer = bucket.getBufferRef();
    // Divided first, so that the sum stays in the range of fp16.
    at::Tensor compressed = buffer.to(kind_).div_(state_->getSize());
    std::vector<at::Tensor> tensors{compressed};
    auto sum = state_->allreduce(tensors)->getFuture();
    return sum->then(
        [buffer, compressed](c10::ivalue::Future&) {
          buffer.copy_(compressed);
          return c10::IValue(std::vector<at::Tensor>{buffer});
        },
        sum->elementType());
  }

 private:
  at::ScalarType kind_;
};
}  // namespace

void ml::set_error(const char* message) { last_error = message; }

struct MlReducer {
  std::shared_ptr<c10d::Reducer> reducer;
  std::shared_ptr<c10d::Logger> logger;
};

const char* ml_last_error() { return last_error.c_str(); }
const char* ml_torch_version() { return TORCH_VERSION; }

int ml_group_new(const MlWorld* w, MlGroup** out) {
  return ml::guarded([&] {
    auto timeout = std::chrono::milliseconds(w->timeout_ms);
    c10d::TCPStoreOptions options;
    options.port = w->port;
    // The agent of torchrun keeps a store at this address already; each restart has its own keys.
    const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
    const bool has_agent = agent && std::strcmp(agent, "True") == 0;
    options.isServer = w->rank == 0 && !has_agent;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(w->join_timeout_ms);
    if (options.isServer) {
      Addresses addresses;
      resolve(w->host, w->port, addresses);
      int fd = store_socket(w->host, addresses.first);
      if (fd >= 0) options.masterListenFd = fd;
    }
    c10::intrusive_ptr<c10d::Store> store;
    try {
      store = c10::make_intrusive<c10d::TCPStore>(w->host, options);
    } catch (const std::exception&) {
      if (options.isServer) throw;
      TORCH_CHECK(false, "rank 0 could not be reached at ", w->host, " port ", w->port,
                  " within ", w->join_timeout_ms / 1000,
                  " s; see why it did not start, check MASTER_ADDR, MASTER_PORT and the firewall, or "
                  "raise train.watch.join_timeout_s");
    }
    if (has_agent) {
      const char* restart = std::getenv("TORCHELASTIC_RESTART_COUNT");
      store = c10::make_intrusive<c10d::PrefixStore>(
          std::string("/worker/attempt_") + (restart ? restart : "0"), store);
    }
    // So that ranks of another run that reach the same port do not take part.
    store = c10::make_intrusive<c10d::PrefixStore>(std::string("run_") + w->store_name, store);
    wait_for_ranks(*store, w);
    store->setTimeout(timeout);
    auto gloo_options = c10d::ProcessGroupGloo::Options::create_default(timeout);
    gloo_options->devices = {gloo_device(w->host)};
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("gloo", store), w->rank, w->world_size,
        gloo_options);
    auto group = c10::make_intrusive<c10d::ProcessGroup>(
        c10::make_intrusive<c10d::PrefixStore>("group", store), w->rank, w->world_size);
    group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
    group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
    group->setGroupName("world");
    *out = new MlGroup{store, group};
  });
}

void ml_group_free(MlGroup* group) {
  ml::guarded([&] { delete group; });
}

int ml_group_sum(MlGroup* group, MlTensor* tensor) {
  return ml::guarded([&] {
    std::vector<at::Tensor> tensors{tensor->detach()};
    group->group->allreduce(tensors)->wait();
  });
}

int ml_group_mean(MlGroup* group, MlTensor* const* tensors, size_t n, uint8_t compression) {
  return ml::guarded([&] {
    auto all = ml::list(tensors, n);
    for (auto& t : all) t = t.detach();
    const auto size = static_cast<double>(group->group->getSize());
    if (compression == 0) {
      group->group->allreduce_coalesced(all)->wait();
      at::_foreach_div_(all, size);
      return;
    }
    std::vector<at::Tensor> compressed;
    for (const auto& t : all) compressed.push_back(t.to(format_of(compression)));
    // Divided first, so that the sum stays in the range of fp16.
    at::_foreach_div_(compressed, size);
    group->group->allreduce_coalesced(compressed)->wait();
    at::_foreach_copy_(all, compressed);
  });
}

int ml_group_broadcast(MlGroup* group, MlTensor* const* tensors, size_t n) {
  return ml::guarded([&] {
    auto all = ml::list(tensors, n);
    for (auto& t : all) t = t.detach();
    c10d::broadcast_coalesced(group->group, all, kBroadcastBytes, 0);
  });
}

int ml_group_barrier(MlGroup* group) {
  return ml::guarded([&] { group->group->barrier()->wait(); });
}

int ml_reducer_new(MlGroup* group, MlTensor* const* params, size_t n, size_t bucket_bytes,
                   uint8_t compression, MlReducer** out) {
  return ml::guarded([&] {
    auto all = ml::list(params, n);
    std::vector<bool> dense(n, false);
    auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
        all, {std::min(kFirstBucketBytes, bucket_bytes), bucket_bytes}, dense));
    // Backward computes gradients from the last layer to the first.
    std::reverse(buckets.begin(), buckets.end());
    auto reducer = std::make_shared<c10d::Reducer>(
        all, buckets, group->group, dense, static_cast<int64_t>(bucket_bytes),
        /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
        std::unordered_map<size_t, std::string>{}, static_cast<int64_t>(kFirstBucketBytes),
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
        std::vector<int64_t>{});
    if (compression != 0) {
      reducer->register_comm_hook(
          std::make_unique<CompressHook>(group->group, format_of(compression)));
    }
    auto logger = std::make_shared<c10d::Logger>(reducer);
    reducer->set_logger(logger);
    // Ten timed steps suffice; later timings could fall into a stream capture.
    reducer->set_ddp_runtime_logging_sample_rate(std::numeric_limits<int>::max());
    *out = new MlReducer{reducer, logger};
  });
}

void ml_reducer_free(MlReducer* reducer) {
  ml::guarded([&] { delete reducer; });
}

int ml_reducer_before_forward(MlReducer* r) {
  return ml::guarded([&] {
    r->reducer->rebuild_buckets();
    r->reducer->prepare_for_forward();
  });
}

int ml_reducer_before_backward(MlReducer* r) {
  return ml::guarded([&] { r->reducer->prepare_for_backward({}); });
}
