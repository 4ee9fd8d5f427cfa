#include "stages/gqa.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "stages/project.h"

namespace ktd {
// Scratch of the whole step.
struct GqaAttention::Buffers {
  Buffers(Carver carver, const GqaAttention& g, int64_t n, int threads)
      : normed(carver, n, g.q_.k, Formats().add(g.q_.traits).add(g.k_.traits).add(g.v_.traits)),
        attended(carver, n, g.output_.k, Formats().add(g.output_.traits)),
        q(carver.take<float>(n * g.q_.rows)),
        kv(carver.take<float>(n * g.cache_width())),
        turns(carver.take<float>(n * g.facts_.rotary.dims())),
        out(carver.take<float>(g.outcome_.plain() ? 0 : n * g.output_.rows)),
        base(carver.take<std::byte>(0)) {
    const size_t before = carver.used();
    Carver one;
    HeadBlock(one, g.view(0), kMaxPageTokens);
    head_bytes = one.used();
    bytes = before + head_bytes * threads;
  }

  Activations normed;    // [n, dim]
  Activations attended;  // [n, heads * head]
  float* q;              // [n, heads * head]
  float* kv;             // [n, cache_width] all keys, then all values
  float* turns;          // [n, rope] cos and sin
  float* out;            // [n, dim] unless it goes to the hidden state at once
  std::byte* base;       // per thread, head_bytes each
  size_t head_bytes;
  size_t bytes;
};

GqaAttention::GqaAttention(GqaFacts facts, const GqaTensors& tensors)
    : facts_(std::move(facts)),
      norm_{floats(tensors.norm), floats(tensors.norm_bias), facts_.eps},
      v_bias_(floats(tensors.v_bias)),
      sinks_(floats(tensors.sinks)),
      outcome_{floats(tensors.output_bias), floats(tensors.post_norm), facts_.eps},
      q_finish_{floats(tensors.q_bias), floats(tensors.q_norm), facts_.heads},
      k_finish_{floats(tensors.k_bias), floats(tensors.k_norm), facts_.kv_heads},
      q_(tensors.q),
      k_(tensors.k),
      v_(tensors.v),
      output_(tensors.output) {
  if (facts_.kv_heads < 1 || facts_.heads % facts_.kv_heads != 0)
    throw EngineError("attention " + std::to_string(facts_.layer) + ": " + std::to_string(facts_.heads) +
                      " heads cannot share " + std::to_string(facts_.kv_heads) + " key heads");
  if (output_.traits->act == ActFormat::Q8 && facts_.head % kTileRows != 0)
    throw EngineError("attention " + std::to_string(facts_.layer) +
                      ": the output is quantised, but a head's " + std::to_string(facts_.head) +
                      " values are not a multiple of " + std::to_string(kTileRows));
}

size_t GqaAttention::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens, threads).bytes;
}

CacheView GqaAttention::view(int64_t kv_head) const {
  const int64_t key = kv_head * facts_.head;
  return {facts_.layer, key, facts_.head, facts_.kv_heads * facts_.head + key, facts_.head};
}

void GqaAttention::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size(), dim = output_.rows;
  const Buffers b(Carver(step.scratch), *this, n, team.size());

  team.each(n, [&](int64_t t) { take_in(b, step, t); });
  project(team, step.kernels,
          {{q_, b.normed, b.q, q_.rows},
           {k_, b.normed, b.kv, cache_width()},
           {v_, b.normed, b.kv + k_.rows, cache_width()}},
          n);
  team.each(n, [&](int64_t t) { finish(b, step, t); });
  team.each(n * facts_.kv_heads * blocks(), [&](int64_t i) { look_back(b, step, team.rank(), i); });
  if (outcome_.plain()) return project_onto(team, step.kernels, output_, b.attended, step.hidden, n);
  project(team, step.kernels, {{output_, b.attended, b.out, dim}}, n);
  team.each(n, [&](int64_t t) { outcome_.add(step.kernels, b.out + t * dim, step.hidden + t * dim, dim); });
}

// One block of heads of one token: their part of the attended row.
void GqaAttention::look_back(const Buffers& b, const Step& step, int rank, int64_t item) const {
  const int64_t t = item / blocks() / facts_.kv_heads, kv_head = item / blocks() % facts_.kv_heads;
  const int64_t skipped = item % blocks() * kHeadBlock, count = std::min(kHeadBlock, group() - skipped);
  const int64_t head = kv_head * group() + skipped, at = head * facts_.head;
  Carver carver(b.base + rank * b.head_bytes);
  const HeadBlock block(carver, view(kv_head), step.cache.page_tokens());
  std::copy_n(b.q + t * q_.rows + at, count * facts_.head, block.q);
  attend(block, count, view(kv_head), step, t,
         {.end = facts_.causal ? 0 : step.batch.length(t),
          .window = facts_.window,
          .softcap = facts_.softcap,
          .sinks = sinks_ ? sinks_ + head : nullptr});
  std::copy_n(block.mix, count * facts_.head, b.attended.row(t) + at);
  b.attended.publish(step.kernels, t, at, count * facts_.head);
}

void GqaAttention::take_in(const Buffers& b, const Step& step, int64_t t) const {
  norm_.apply(step.kernels, step.hidden + t * q_.k, b.normed.row(t), q_.k);
  b.normed.publish(step.kernels, t);
  facts_.rotary.angles(step.batch.positions[t], b.turns + t * facts_.rotary.dims());
}

// Makes q ready for the scores and stores the new cache row.
void GqaAttention::finish(const Buffers& b, const Step& step, int64_t t) const {
  const float* turn = b.turns + t * facts_.rotary.dims();
  float *q = b.q + t * q_.rows, *key = b.kv + t * cache_width(), *value = key + k_.rows;
  finish_heads(q_finish_, step.kernels, turn, q);
  for (int64_t i = 0; i < q_.rows; ++i) q[i] *= facts_.scale;
  finish_heads(k_finish_, step.kernels, turn, key);
  if (v_bias_) step.kernels.axpy(1.0f, v_bias_, value, v_.rows);
  store_row(step, facts_.layer, t, key, cache_width());
}

void GqaAttention::finish_heads(const Finish& finish, const Kernels& kernels, const float* turn,
                                float* x) const {
  if (finish.bias) kernels.axpy(1.0f, finish.bias, x, finish.heads * facts_.head);
  for (int64_t h = 0; h < finish.heads; ++h, x += facts_.head) {
    if (finish.norm) kernels.rms_norm(x, finish.norm, facts_.eps, x, facts_.head);
    facts_.rotary.rotate(x, turn, x);
  }
}

}  // namespace ktd
