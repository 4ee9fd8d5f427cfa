#include "stages.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "stages/combine.h"
#include "stages/dense_ffn.h"
#include "stages/embed.h"
#include "stages/gqa.h"
#include "stages/head.h"
#include "stages/layer_norm.h"
#include "stages/mla.h"
#include "stages/moe_ffn.h"

namespace ktd {
namespace {

// One frozen dataclass of spec.py.
class Record {
 public:
  Record(nb::handle object, const Weights& weights) : object_(object), weights_(weights) {}

  template <class T>
  T get(const char* name) const {
    return nb::cast<T>(object_.attr(name));
  }
  Record record(const char* name) const { return {nb::object(object_.attr(name)), weights_}; }
  bool has(const char* name) const { return !nb::object(object_.attr(name)).is_none(); }
  std::string kind() const { return nb::cast<std::string>(nb::object(object_.type().attr("__name__"))); }

  // The tensor that a Weight field names, with the shape it promises; null for None.
  const Tensor* optional(const char* name) const {
    const nb::object weight = object_.attr(name);
    return weight.is_none() ? nullptr : named(weight);
  }
  const Tensor* named(nb::handle weight) const {
    const Tensor& tensor = weights_.at(nb::cast<std::string>(weight.attr("name")));
    std::vector<int64_t> wanted;
    for (nb::handle dim : weight.attr("stored")) wanted.push_back(nb::cast<int64_t>(dim));
    if (tensor.shape != wanted)
      throw EngineError("tensor " + tensor.name + " has not the shape that the model needs");
    return &tensor;
  }
  const Tensor& tensor(const char* name) const {
    const Tensor* found = optional(name);
    if (found == nullptr) throw EngineError("a " + kind() + " stage needs " + name);
    return *found;
  }
  // The rows of a tensor that a Weight field names: all, or those of its part.
  Matrix matrix(const char* name) const {
    const Tensor& whole = tensor(name);
    const nb::object weight = object_.attr(name);
    const auto first = nb::cast<int64_t>(weight.attr("first"));
    const auto rows = nb::cast<int64_t>(weight.attr("shape")[nb::int_(1)]);
    Matrix part = ktd::matrix(whole);
    if (first < 0 || rows < 0 || rows > part.rows || first > part.rows - rows)
      throw EngineError("tensor " + whole.name + " has no rows " + std::to_string(first) + " to " +
                        std::to_string(first + rows));
    part.data = part.row(first);
    part.rows = rows;
    return part;
  }
  // A stack of matrices: one tensor, or a tensor for each.
  Matrix stack(const char* name) const {
    const nb::object stack = object_.attr(name);
    if (!nb::hasattr(stack, "parts")) return matrix(name);
    std::vector<Matrix> parts;
    for (nb::handle weight : stack.attr("parts")) parts.push_back(ktd::matrix(*named(weight)));
    if (parts.empty()) throw EngineError("a " + kind() + " stage needs " + name);
    std::vector<const std::byte*> places;
    for (const Matrix& part : parts) {
      if (part.traits != parts[0].traits) throw EngineError(name_of(name) + ": not of its neighbours' type");
      places.push_back(part.data);
    }
    parts[0].count = static_cast<int64_t>(parts.size());
    parts[0].parts = std::make_shared<const std::vector<const std::byte*>>(std::move(places));
    return parts[0];
  }
  std::string name_of(const char* name) const {
    const nb::object weight = object_.attr(name);
    return nb::cast<std::string>(nb::hasattr(weight, "parts") ? weight.attr("parts")[nb::int_(0)].attr("name")
                                                              : weight.attr("name"));
  }
  std::optional<Matrix> optional_matrix(const char* name) const {
    return has(name) ? std::optional(matrix(name)) : std::nullopt;
  }
  Norm norm() const {
    return {floats(optional_f32("norm")), floats(optional_f32("norm_bias")), get<float>("eps")};
  }
  Norm rms_norm(const char* name) const { return {floats(&f32(name)), nullptr, get<float>("eps")}; }
  // Norms and biases are read as floats, not through a kernel.
  const Tensor* optional_f32(const char* name) const {
    const Tensor* found = optional(name);
    if (found != nullptr && found->traits->type != TensorType::F32)
      throw EngineError("tensor " + found->name + " must be F32, not " + found->traits->name);
    return found;
  }
  const Tensor& f32(const char* name) const {
    tensor(name);
    return *optional_f32(name);
  }

 private:
  nb::object held_;
  nb::handle object_;
  const Weights& weights_;

  Record(nb::object object, const Weights& weights) : held_(object), object_(held_), weights_(weights) {}
};

Rotary read_rotary(const Record& rope) {
  std::vector<float> frequencies;
  for (double value : rope.get<std::vector<double>>("frequencies"))
    frequencies.push_back(static_cast<float>(value));
  return {frequencies, rope.get<std::string>("layout") == "adjacent", rope.get<float>("magnitude")};
}

std::unique_ptr<Stage> read_mla(const Record& s, Machine& machine, ModelFacts& facts) {
  const MlaTensors tensors{.norm = &s.f32("norm"),
                           .q = s.optional("q"),
                           .q_a = s.optional("q_a"),
                           .q_a_norm = s.optional_f32("q_a_norm"),
                           .q_b = s.optional("q_b"),
                           .kv_a = &s.tensor("kv_a"),
                           .kv_a_norm = &s.f32("kv_a_norm"),
                           .k_b = s.optional("k_b"),
                           .v_b = s.optional("v_b"),
                           .kv_b = s.optional("kv_b"),
                           .output = &s.tensor("output")};
  if (!(tensors.q || (tensors.q_a && tensors.q_a_norm && tensors.q_b)))
    throw EngineError("an MlaAttention stage needs q, or q_a, q_a_norm and q_b");
  if (!(tensors.kv_b || (tensors.k_b && tensors.v_b)))
    throw EngineError("an MlaAttention stage needs kv_b, or k_b and v_b");
  auto stage = std::make_unique<MlaAttention>(MlaFacts{.heads = s.get<int64_t>("heads"),
                                                       .kv_lora = s.get<int64_t>("kv_lora"),
                                                       .nope = s.get<int64_t>("nope"),
                                                       .value = s.get<int64_t>("value"),
                                                       .scale = s.get<float>("scale"),
                                                       .eps = s.get<float>("eps"),
                                                       .layer = facts.cache_widths.size(),
                                                       .rotary = read_rotary(s.record("rope"))},
                                              tensors, machine.pool);
  facts.cache_widths.push_back(stage->cache_width());
  facts.derived_bytes += stage->derived_bytes();
  return stage;
}

std::unique_ptr<Stage> read_gqa(const Record& s, ModelFacts& facts) {
  const GqaTensors tensors{.q = s.matrix("q"),
                           .k = s.matrix("k"),
                           .v = s.matrix("v"),
                           .output = s.matrix("output"),
                           .norm = s.optional_f32("norm"),
                           .norm_bias = s.optional_f32("norm_bias"),
                           .q_bias = s.optional_f32("q_bias"),
                           .k_bias = s.optional_f32("k_bias"),
                           .v_bias = s.optional_f32("v_bias"),
                           .output_bias = s.optional_f32("output_bias"),
                           .q_norm = s.optional_f32("q_norm"),
                           .k_norm = s.optional_f32("k_norm"),
                           .post_norm = s.optional_f32("post_norm"),
                           .sinks = s.optional_f32("sinks")};
  auto stage = std::make_unique<GqaAttention>(GqaFacts{.heads = s.get<int64_t>("heads"),
                                                       .kv_heads = s.get<int64_t>("kv_heads"),
                                                       .head = s.get<int64_t>("head"),
                                                       .scale = s.get<float>("scale"),
                                                       .eps = s.get<float>("eps"),
                                                       .layer = facts.cache_widths.size(),
                                                       .rotary = read_rotary(s.record("rope")),
                                                       .window = s.get<int64_t>("window"),
                                                       .softcap = s.get<float>("softcap"),
                                                       .causal = s.get<bool>("causal")},
                                              tensors);
  facts.cache_widths.push_back(stage->cache_width());
  return stage;
}

Activation read_activation(const std::string& name) {
  if (name == "silu") return Activation::Silu;
  if (name == "gelu") return Activation::Gelu;
  if (name == "erf_gelu") return Activation::ErfGelu;
  if (name == "clamped_silu") return Activation::ClampedSilu;
  throw EngineError("the CPU runtime has no activation " + name);
}

Gated read_gated(const Record& g) {
  Gated gated{.gate = g.stack("gate"),
              .up = g.has("up") ? std::optional(g.stack("up")) : std::nullopt,
              .down = g.stack("down"),
              .activation = read_activation(g.get<std::string>("activation")),
              .gate_bias = floats(g.optional_f32("gate_bias")),
              .up_bias = floats(g.optional_f32("up_bias")),
              .down_bias = floats(g.optional_f32("down_bias"))};
  check_gated(gated, g.name_of("down"));
  return gated;
}

RouterFacts read_router(const Record& r) {
  return {.gating = r.get<std::string>("gating") == "softmax" ? Gating::Softmax : Gating::Sigmoid,
          .experts = r.get<int64_t>("experts"),
          .used = r.get<int64_t>("used"),
          .groups = r.get<int64_t>("groups"),
          .groups_used = r.get<int64_t>("groups_used"),
          .group_score = r.get<std::string>("group_score") == "max" ? GroupScore::Max : GroupScore::Top2,
          .normalise = r.get<bool>("normalise"),
          .scale = r.get<float>("scale")};
}

std::unique_ptr<Stage> read_moe(const Record& s, const ModelFacts& facts) {
  const Record router = s.record("router");
  MoeBlocks blocks{read_gated(s.record("experts")), {}, facts.streamed};
  if (s.has("shared")) blocks.shared = read_gated(s.record("shared"));
  const MoeTensors tensors{.norm = &s.f32("norm"),
                           .router = &router.tensor("logits"),
                           .logits_bias = router.optional_f32("logits_bias"),
                           .choice_bias = router.optional_f32("bias"),
                           .shared_gate = s.optional_f32("shared_gate")};
  return std::make_unique<MoeFfn>(s.get<float>("eps"), read_router(router), tensors, blocks);
}

std::unique_ptr<Stage> read_stage(const Record& s, Machine& machine, ModelFacts& facts) {
  const std::string kind = s.kind();
  if (kind == "Embed") {
    facts.dim = s.get<int64_t>("dim");
    facts.vocab = s.get<int64_t>("vocab");
    const Tensor* positions = s.optional("positions");
    if (positions) facts.context = positions->dim(1);
    return std::make_unique<Embed>(s.tensor("table"), s.get<float>("scale"), positions, s.optional("types"));
  }
  if (kind == "Combine") {
    facts.dim = s.get<int64_t>("dim");
    facts.vocab = s.get<int64_t>("vocab");
    facts.continues = true;
    return std::make_unique<Combine>(s.tensor("table"), s.rms_norm("norm"), s.rms_norm("state_norm"),
                                     s.tensor("project"));
  }
  if (kind == "LayerNorm") return std::make_unique<LayerNorm>(s.norm(), facts.dim);
  if (kind == "MlaAttention") return read_mla(s, machine, facts);
  if (kind == "GqaAttention") return read_gqa(s, facts);
  if (kind == "DenseFfn")
    return std::make_unique<DenseFfn>(s.norm(), s.optional_f32("post_norm"), read_gated(s.record("block")));
  if (kind == "MoeFfn") return read_moe(s, facts);
  if (kind == "Head") {
    facts.logits = s.has("output");
    return std::make_unique<Head>(s.norm(), facts.dim, s.optional_matrix("output"), s.get<float>("softcap"));
  }
  throw EngineError("the CPU runtime has no stage " + kind);
}

Experts read_experts(const Record& s, bool streamed) {
  if (s.kind() != "MoeFfn") throw EngineError("a " + s.kind() + " stage has no routed experts");
  return {read_gated(s.record("experts")), s.record("router").get<int64_t>("used"), {}, streamed};
}

}  // namespace

std::vector<Experts> read_routed_experts(nb::sequence specs, const Weights& weights, bool streamed) {
  std::vector<Experts> layers;
  for (nb::handle spec : specs) layers.push_back(read_experts(Record(spec, weights), streamed));
  return layers;
}

std::vector<std::unique_ptr<Stage>> read_stages(nb::sequence specs, const Weights& weights, Machine& machine,
                                                ModelFacts& facts) {
  std::vector<std::unique_ptr<Stage>> stages;
  for (nb::handle spec : specs) stages.push_back(read_stage(Record(spec, weights), machine, facts));
  return stages;
}

}  // namespace ktd
