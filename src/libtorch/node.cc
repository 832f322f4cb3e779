// Nodes of the autograd graph whose backward pass is a closure of the caller, and the gradients of
// a convolution for use inside of them.
#include "bridge.h"

#include <ATen/ops/convolution_backward.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace {
using torch::autograd::Node;
using torch::autograd::variable_list;

// Runs the closure once. The engine of autograd calls it on the thread of the device.
struct ClosureNode : Node {
  explicit ClosureNode(MlBackward backward) : backward(backward) {}

  ~ClosureNode() override { release_variables(); }

  variable_list apply(variable_list&& gradients) override {
    void* state = take();
    if (!state) throw std::runtime_error("the backward pass of a fused block ran twice");
    std::vector<MlTensor*> in;
    for (auto& gradient : gradients) in.push_back(gradient.defined() ? &gradient : nullptr);
    std::vector<MlTensor*> out(num_outputs(), nullptr);
    // The closure hands over ownership of its tensors, also if it fails.
    int failed = backward.run(state, in.data(), in.size(), out.data(), out.size());
    variable_list result(out.size());
    for (size_t i = 0; i < out.size(); ++i) {
      if (!out[i]) continue;
      result[i] = std::move(*out[i]);
      delete out[i];
    }
    if (failed) throw std::runtime_error("the backward pass of a fused block panicked");
    return result;
  }

  // Frees what the closure keeps for the backward pass.
  void release_variables() override {
    if (void* state = take()) backward.drop(state);
  }

  std::string name() const override { return "FusedBackward"; }

 private:
  void* take() {
    std::lock_guard<std::mutex> lock(mutex);
    return std::exchange(backward.state, nullptr);
  }

  std::mutex mutex;
  MlBackward backward;
};
}  // namespace

int ml_node_attach(MlTensor* const* outputs, size_t num_outputs, MlTensor* const* inputs,
                   size_t num_inputs, MlBackward backward) {
  // The node owns the closure from here on, whatever fails.
  std::shared_ptr<Node> node(new ClosureNode(backward), torch::autograd::deleteNode);
  return ml::guarded([&] {
    const auto all = ml::list(inputs, num_inputs);
    const bool needed = std::any_of(all.begin(), all.end(), [](auto& t) { return t.requires_grad(); });
    if (!needed || !at::GradMode::is_enabled()) return node->release_variables();
    node->set_next_edges(torch::autograd::collect_next_edges(all));
    for (size_t i = 0; i < num_outputs; ++i) torch::autograd::set_history(*outputs[i], node);
  });
}

int ml_conv_backward(const MlConvBackward* conv, MlTensor** input_gradient,
                     MlTensor** weight_gradient) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    std::vector<int64_t> stride(2, conv->stride), padding(2, conv->padding);
    auto [input, weight, bias] = at::convolution_backward(
        *conv->gradient, *conv->input, *conv->weight, c10::nullopt, stride, padding,
        /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1,
        {conv->with_input != 0, true, false});
    if (conv->with_input) *input_gradient = new at::Tensor(std::move(input));
    *weight_gradient = new at::Tensor(std::move(weight));
  });
}
