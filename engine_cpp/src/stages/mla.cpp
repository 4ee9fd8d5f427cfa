#include "stages/mla.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "stages/derive.h"
#include "stages/project.h"

namespace ktd {
namespace {

// v rows of kv_b: per head they follow the nope key rows.
Matrix value_rows(const Matrix& kv_b, const MlaFacts& facts) {
  Matrix v = kv_b;
  v.rows = facts.value;
  v.count = facts.heads;
  v.stride = (facts.nope + facts.value) * kv_b.row_bytes;
  v.data = kv_b.row(facts.nope);
  return v;
}

}  // namespace

// Scratch of the whole step.
struct MlaAttention::Buffers {
  Buffers(Carver carver, const MlaAttention& m, int64_t n, int threads)
      : normed(carver, n, m.kv_a_.k, Formats().add(m.q_in_.traits).add(m.kv_a_.traits)),
        q_low(carver, m.low_rank_q_ ? n : 0, m.q_b_.k, Formats().add(m.q_b_.traits)),
        attended(carver, n, m.output_.k, Formats().add(m.output_.traits)),
        kv(carver.take<float>(n * m.cache_width())),
        q(carver.take<float>(n * m.q_width())),
        turns(carver.take<float>(n * m.facts_.rotary.dims())) {
    base = carver.take<std::byte>(0);
    const size_t before = carver.used();
    head_bytes = heads_bytes(m);
    bytes = before + head_bytes * threads;
  }
  static size_t heads_bytes(const MlaAttention& m);

  Activations normed;    // [n, dim]
  Activations q_low;     // [n, q_lora]
  Activations attended;  // [n, heads * value]
  float* kv;             // [n, cache_width]
  float* q;              // [n, heads * (nope + rope)]
  float* turns;          // [n, rope] cos and sin
  std::byte* base;       // per thread, head_bytes each
  size_t head_bytes;
  size_t bytes;
};

// Scratch of one thread: a block of heads of one token.
struct MlaAttention::Heads {
  Heads(Carver carver, const MlaAttention& m, int64_t page_tokens, int64_t first = 0, int64_t count = 0)
      : first(first),
        count(count),
        nope(carver, 1, m.facts_.nope, Formats().add(m.k_b_.traits)),
        latent(carver, 1, m.facts_.kv_lora, Formats().add(m.v_b_.traits)),
        block(carver, m.view(), page_tokens),
        bytes(carver.used()) {}

  int64_t first, count;
  Activations nope;    // [nope] of one head
  Activations latent;  // [kv_lora] of one head
  HeadBlock block;
  size_t bytes;
};

size_t MlaAttention::Buffers::heads_bytes(const MlaAttention& m) {
  return Heads(Carver(), m, kMaxPageTokens).bytes;
}

MlaAttention::MlaAttention(MlaFacts facts, const MlaTensors& tensors, Pool& pool)
    : facts_(std::move(facts)),
      derived_(tensors.k_b ? Memory() : derive_memory(*tensors.kv_b, facts_.heads, facts_.nope)),
      norm_(floats(tensors.norm)),
      q_a_norm_(floats(tensors.q_a_norm)),
      kv_a_norm_(floats(tensors.kv_a_norm)),
      low_rank_q_(tensors.q == nullptr),
      q_in_(matrix(low_rank_q_ ? *tensors.q_a : *tensors.q)),
      q_b_(matrix(low_rank_q_ ? *tensors.q_b : *tensors.q)),
      kv_a_(matrix(*tensors.kv_a)),
      k_b_(tensors.k_b
               ? matrix(*tensors.k_b)
               : transpose_heads(*tensors.kv_b, facts_.heads, facts_.nope, facts_.value, derived_, pool)),
      v_b_(tensors.v_b ? matrix(*tensors.v_b) : value_rows(matrix(*tensors.kv_b), facts_)),
      output_(matrix(*tensors.output)) {
  if (output_.traits->act == ActFormat::Q8 && facts_.value % kTileRows != 0)
    throw EngineError("tensor " + tensors.output->name + ": quantised, but a head's " +
                      std::to_string(facts_.value) + " values are not a multiple of " +
                      std::to_string(kTileRows));
}

size_t MlaAttention::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens, threads).bytes;
}

void MlaAttention::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size();
  const Buffers b(Carver(step.scratch), *this, n, team.size());
  const Matrix& q_out = low_rank_q_ ? q_b_ : q_in_;
  const int64_t wide = std::clamp(facts_.heads * n / (2 * team.size()), int64_t{1}, kHeadBlock);
  const int64_t blocks = (facts_.heads + wide - 1) / wide;

  team.each(n, [&](int64_t t) { take_in(b, step, t); });
  if (low_rank_q_) {
    project(team, step.kernels,
            {{q_in_, b.normed, b.q_low.row(0), b.q_low.stride()}, {kv_a_, b.normed, b.kv, cache_width()}}, n);
    team.each(n, [&](int64_t t) { latents(b, step, t); });
    project(team, step.kernels, {{q_out, b.q_low, b.q, q_width()}}, n);
  } else {
    project(team, step.kernels, {{q_out, b.normed, b.q, q_width()}, {kv_a_, b.normed, b.kv, cache_width()}},
            n);
    team.each(n, [&](int64_t t) { latents(b, step, t); });
  }
  team.each(n * blocks, [&](int64_t i) {
    const int64_t first = i % blocks * wide;
    const Heads h(Carver(b.base + team.rank() * b.head_bytes), *this, step.cache.page_tokens(), first,
                  std::min(wide, facts_.heads - first));
    absorb(b, h, step, i / blocks);
    attend(h.block, h.count, view(), step, i / blocks);
    expand(b, h, step, i / blocks);
  });
  project_onto(team, step.kernels, output_, b.attended, step.hidden, n);
}

void MlaAttention::take_in(const Buffers& b, const Step& step, int64_t t) const {
  step.kernels.rms_norm(step.hidden + t * kv_a_.k, norm_, facts_.eps, b.normed.row(t), kv_a_.k);
  b.normed.publish(step.kernels, t);
  facts_.rotary.angles(step.batch.positions[t], b.turns + t * facts_.rotary.dims());
}

// Norms the low-rank q; norms and rotates the new cache row and stores it.
void MlaAttention::latents(const Buffers& b, const Step& step, int64_t t) const {
  const Kernels& kernels = step.kernels;
  if (low_rank_q_) {
    kernels.rms_norm(b.q_low.row(t), q_a_norm_, facts_.eps, b.q_low.row(t), q_b_.k);
    b.q_low.publish(kernels, t);
  }
  float* row = b.kv + t * cache_width();
  float* key = row + facts_.kv_lora;
  kernels.rms_norm(row, kv_a_norm_, facts_.eps, row, facts_.kv_lora);
  facts_.rotary.rotate(key, b.turns + t * facts_.rotary.dims(), key);
  store_row(step, facts_.layer, t, row, cache_width());
}

// q in the space of the cache rows: k_b^T . q_nope, then the rotated part, both times the scale.
void MlaAttention::absorb(const Buffers& b, const Heads& h, const Step& step, int64_t t) const {
  const int64_t rope = facts_.rotary.dims(), per_head = facts_.nope + rope;
  for (int64_t i = 0; i < h.count; ++i) {
    const float* q = b.q + t * q_width() + (h.first + i) * per_head;
    float* absorbed = h.block.q + i * cache_width();
    std::copy_n(q, facts_.nope, h.nope.row(0));
    h.nope.publish(step.kernels, 0);
    multiply(step.kernels, k_b_, h.first + i, h.nope, absorbed);
    facts_.rotary.rotate(q + facts_.nope, b.turns + t * rope, absorbed + facts_.kv_lora);
    for (int64_t j = 0; j < cache_width(); ++j) absorbed[j] *= facts_.scale;
  }
}

// Back from the latent space: v_b . mix, as this block's part of the attended row.
void MlaAttention::expand(const Buffers& b, const Heads& h, const Step& step, int64_t t) const {
  for (int64_t i = 0; i < h.count; ++i) {
    std::copy_n(h.block.mix + i * facts_.kv_lora, facts_.kv_lora, h.latent.row(0));
    h.latent.publish(step.kernels, 0);
    multiply(step.kernels, v_b_, h.first + i, h.latent, b.attended.row(t) + (h.first + i) * facts_.value);
  }
  b.attended.publish(step.kernels, t, h.first * facts_.value, h.count * facts_.value);
}

}  // namespace ktd
