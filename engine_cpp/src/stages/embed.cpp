#include "stages/embed.h"

namespace ktd {

void Embed::run(Team& team, Step& step) const {
  team.each(step.batch.size(), [&](int64_t t) {
    float* hidden = step.hidden + t * table_.k;
    table_.traits->dequantize(table_.row(step.batch.tokens[t]), hidden, table_.k);
    if (scale_ != 1.0f)
      for (int64_t i = 0; i < table_.k; ++i) hidden[i] *= scale_;
  });
}

}  // namespace ktd
