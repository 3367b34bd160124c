// One LSTM layer forwards, written by hand: how far a compiled kernel could go beyond the engine's XLA on this CPU.
//
// Weights are packed once, not at every step, in panels of WIDTH columns [units / WIDTH][gate][D + H][WIDTH]; z of so
// many units and all gates stays in the first cache until their update is done. A thread takes a part of the batch.
// Compiled and called by on_kernel.py; rnnlab itself does not use it.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr int GATES = 4, DEPTH = 256, VECTORS = 2;  // depth and columns, in vectors, of a block of a product
#ifdef __AVX512F__
constexpr int BYTES = 64, ROWS = 13;  // of a vector; rows of a block, whose sums fill most registers
#else
constexpr int BYTES = 32, ROWS = 6;
#endif
constexpr int FLOATS = BYTES / sizeof(float), WIDTH = VECTORS * FLOATS;
typedef float Vector __attribute__((vector_size(BYTES), aligned(4)));

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
float tangent(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

// z [R, WIDTH] += x [R, depth] w [depth, WIDTH]
template <int R>
void block(const float* x, long stride, const float* w, int depth, float* z) {
  Vector sum[R][VECTORS], row[VECTORS];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < VECTORS; v++) sum[r][v] = *(const Vector*)(z + r * GATES * WIDTH + FLOATS * v);
  for (int k = 0; k < depth; k++) {
    for (int v = 0; v < VECTORS; v++) row[v] = *(const Vector*)(w + k * WIDTH + FLOATS * v);
    for (int r = 0; r < R; r++)
      for (int v = 0; v < VECTORS; v++) sum[r][v] += x[r * stride + k] * row[v];
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < VECTORS; v++) *(Vector*)(z + r * GATES * WIDTH + FLOATS * v) = sum[r][v];
}

template <int... R>
void block_of(int rows, const float* x, long stride, const float* w, int depth, float* z,
              std::integer_sequence<int, R...>) {
  static constexpr void (*blocks[])(const float*, long, const float*, int, float*) = {block<R + 1>...};
  blocks[rows - 1](x, stride, w, depth, z);
}

void product(int rows, const float* x, long stride, const float* w, int depth, float* z) {
  for (int left = (rows + ROWS - 1) / ROWS, row = 0; left > 0; left--) {  // rows in parts as even as can be
    const int part = (rows - row + left - 1) / left;
    block_of(part, x + row * stride, stride, w, depth, z + row * GATES * WIDTH,
             std::make_integer_sequence<int, ROWS>());
    row += part;
  }
}

// xs [T, B, D], w packed, hs [T, B, H]: the sequences from `first` to `last` of the batch, from a carry of zeros.
void sequences(const float* xs, const float* w, float* hs, int T, int B, int D, int H, int first, int last) {
  const int rows = last - first, K = D + H;
  std::vector<float> z(rows * GATES * WIDTH), x(rows * K), c(rows * H), h(rows * H);
  for (int t = 0; t < T; t++) {
    for (int b = 0; b < rows; b++) {
      std::memcpy(&x[b * K], xs + ((long)t * B + first + b) * D, D * sizeof(float));
      std::memcpy(&x[b * K + D], &h[b * H], H * sizeof(float));
    }
    for (int unit = 0; unit < H; unit += WIDTH) {
      std::fill(z.begin(), z.end(), 0.0f);
      for (int k = 0; k < K; k += DEPTH)
        for (int gate = 0; gate < GATES; gate++) {
          const float* panel = w + ((long)(unit / WIDTH * GATES + gate) * K + k) * WIDTH;
          product(rows, &x[k], K, panel, std::min(DEPTH, K - k), &z[gate * WIDTH]);
        }
      for (int b = 0; b < rows; b++) {
        const float* zb = &z[b * GATES * WIDTH];
        for (int j = 0; j < WIDTH; j++) {
          float& cell = c[b * H + unit + j];
          cell = sigmoid(zb[WIDTH + j]) * cell + sigmoid(zb[j]) * tangent(zb[2 * WIDTH + j]);
          h[b * H + unit + j] = sigmoid(zb[3 * WIDTH + j]) * tangent(cell);
        }
      }
    }
    for (int b = 0; b < rows; b++) std::memcpy(hs + ((long)t * B + first + b) * H, &h[b * H], H * sizeof(float));
  }
}

}  // namespace

extern "C" int width() { return WIDTH; }

extern "C" void forward(const float* xs, const float* w, float* hs, int T, int B, int D, int H, int threads) {
  std::vector<std::thread> others;
  for (int n = 1; n < threads; n++)
    others.emplace_back(sequences, xs, w, hs, T, B, D, H, B * n / threads, B * (n + 1) / threads);
  sequences(xs, w, hs, T, B, D, H, 0, B / threads);
  for (auto& other : others) other.join();
}
