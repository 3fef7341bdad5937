// One number of a stream of standard normals: what Stream::fill_normal of vqfarm-core fills in at
// `place` after `drawn` words. A program for each element, compiled when it is first used; plain
// C++, so that the tests can run it anywhere. All numbers are whole ones below 2^32.
template <typename T>
T vqfarm_normal(T place, T drawn, T iteration, T cutout, T frame, T key0, T key1) {
  typedef unsigned int Word;
  float uniform[2];
  for (int half = 0; half < 2; half++) {
    const Word word = (Word)drawn + (Word)place / 2 * 2 + half;
    // Philox4x32-10, as vqfarm_core::rng has it.
    Word c[4] = {word / 4, (Word)iteration, (Word)cutout, (Word)frame};
    Word k[2] = {(Word)key0, (Word)key1};
    for (int round = 0; round < 10; round++) {
      const unsigned long long p0 = 0xD2511F53ull * c[0];
      const unsigned long long p1 = 0xCD9E8D57ull * c[2];
      const Word next[4] = {(Word)(p1 >> 32) ^ c[1] ^ k[0], (Word)p1,
                            (Word)(p0 >> 32) ^ c[3] ^ k[1], (Word)p0};
      for (int i = 0; i < 4; i++) c[i] = next[i];
      k[0] += 0x9E3779B9u;
      k[1] += 0xBB67AE85u;
    }
    uniform[half] = (float)(c[word % 4] >> 8) * (1.0f / 16777216.0f);
  }
  // 1 - u is never 0.
  const float radius = sqrtf(-2.0f * logf(1.0f - uniform[0]));
  const float angle = 6.283185307179586f * uniform[1];
  return (T)(radius * ((Word)place % 2 == 0 ? cosf(angle) : sinf(angle)));
}
