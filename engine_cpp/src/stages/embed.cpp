#include "stages/embed.h"

namespace ktd {

void Embed::run(Team& team, Step& step) const {
  team.each(step.batch.size(), [&](int64_t t) {
    table_.traits->dequantize(table_.row(step.batch.tokens[t]), step.hidden + t * table_.k, table_.k);
  });
}

}  // namespace ktd
