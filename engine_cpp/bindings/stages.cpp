#include "stages.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "base/error.h"
#include "stages/dense_ffn.h"
#include "stages/embed.h"
#include "stages/gqa.h"
#include "stages/head.h"
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
    if (weight.is_none()) return nullptr;
    const Tensor& tensor = weights_.at(nb::cast<std::string>(weight.attr("name")));
    std::vector<int64_t> wanted;
    for (nb::handle dim : weight.attr("shape")) wanted.push_back(nb::cast<int64_t>(dim));
    if (tensor.shape != wanted)
      throw EngineError("tensor " + tensor.name + " has not the shape that the model needs");
    return &tensor;
  }
  const Tensor& tensor(const char* name) const {
    const Tensor* found = optional(name);
    if (found == nullptr) throw EngineError("a " + kind() + " stage needs " + name);
    return *found;
  }
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
  return {frequencies, rope.get<std::string>("layout") == "adjacent"};
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
  const GqaTensors tensors{.norm = &s.f32("norm"),
                           .q = &s.tensor("q"),
                           .k = &s.tensor("k"),
                           .v = &s.tensor("v"),
                           .output = &s.tensor("output"),
                           .q_bias = s.optional_f32("q_bias"),
                           .k_bias = s.optional_f32("k_bias"),
                           .v_bias = s.optional_f32("v_bias"),
                           .q_norm = s.optional_f32("q_norm"),
                           .k_norm = s.optional_f32("k_norm")};
  auto stage = std::make_unique<GqaAttention>(GqaFacts{.heads = s.get<int64_t>("heads"),
                                                       .kv_heads = s.get<int64_t>("kv_heads"),
                                                       .head = s.get<int64_t>("head"),
                                                       .scale = s.get<float>("scale"),
                                                       .eps = s.get<float>("eps"),
                                                       .layer = facts.cache_widths.size(),
                                                       .rotary = read_rotary(s.record("rope"))},
                                              tensors);
  facts.cache_widths.push_back(stage->cache_width());
  return stage;
}

Gated read_gated(const Record& g) {
  return {matrix(g.tensor("gate")), matrix(g.tensor("up")), matrix(g.tensor("down"))};
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

std::unique_ptr<Stage> read_moe(const Record& s) {
  const Record router = s.record("router");
  std::optional<Gated> shared;
  if (s.has("shared")) shared = read_gated(s.record("shared"));
  return std::make_unique<MoeFfn>(s.get<float>("eps"), s.f32("norm"), read_router(router),
                                  router.tensor("logits"), router.optional_f32("bias"),
                                  read_gated(s.record("experts")), shared);
}

std::unique_ptr<Stage> read_stage(const Record& s, Machine& machine, ModelFacts& facts) {
  const std::string kind = s.kind();
  if (kind == "Embed") {
    facts.dim = s.get<int64_t>("dim");
    facts.vocab = s.get<int64_t>("vocab");
    return std::make_unique<Embed>(s.tensor("table"));
  }
  if (kind == "MlaAttention") return read_mla(s, machine, facts);
  if (kind == "GqaAttention") return read_gqa(s, facts);
  if (kind == "DenseFfn")
    return std::make_unique<DenseFfn>(s.get<float>("eps"), s.f32("norm"), read_gated(s.record("block")));
  if (kind == "MoeFfn") return read_moe(s);
  if (kind == "Head") return std::make_unique<Head>(s.get<float>("eps"), s.f32("norm"), s.tensor("output"));
  throw EngineError("the CPU runtime has no stage " + kind);
}

}  // namespace

std::vector<std::unique_ptr<Stage>> read_stages(nb::sequence specs, const Weights& weights, Machine& machine,
                                                ModelFacts& facts) {
  std::vector<std::unique_ptr<Stage>> stages;
  for (nb::handle spec : specs) stages.push_back(read_stage(Record(spec, weights), machine, facts));
  return stages;
}

}  // namespace ktd
