// Vectors of floats: their exponentials, and the matrix product that lstm_layer.h is made of.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {  // so that the compiler may inline

constexpr int VECTORS = 2;  // of a panel: its columns
#ifdef __AVX512F__
constexpr int BYTES = 64;  // of a vector
#else
constexpr int BYTES = 32;
#endif
#if !defined(__AVX512F__)
constexpr int ROWS = 6;  // of a block of a product, whose sums fill most registers
#elif defined(__clang__)
constexpr int ROWS = 8;  // with more it keeps sums in memory
#else
constexpr int ROWS = 13;
#endif
constexpr int FLOATS = BYTES / sizeof(float), WIDTH = VECTORS * FLOATS;
constexpr int FEW = 3;  // rows so few that the sums of one panel would wait for each other
constexpr int LINE = 16;   // floats of a line of the cache
constexpr int AHEAD = 32;  // rows of a panel that are fetched early, as the processor does not beyond the end of a page
constexpr int TOGETHER = 4;  // panels at once where there are few rows
typedef float Vector __attribute__((vector_size(BYTES), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(BYTES), aligned(4)));

long up(long n, long to) { return (n + to - 1) / to * to; }

// Zeros, in lines of the cache; one vector more than asked for, so that whole vectors can be read at the end.
struct Floats {
  explicit Floats(long count) : data(nullptr, std::free) {
    const size_t bytes = up((count + FLOATS) * sizeof(float), 64);
    data.reset((float*)std::aligned_alloc(64, bytes));
    if (!data) throw std::bad_alloc();
    std::memset(data.get(), 0, bytes);
  }
  operator float*() const { return data.get(); }
  std::unique_ptr<float, decltype(&std::free)> data;
};

Vector all(float x) { return x - Vector{}; }

// Lanes of a mask are all ones or all zeros.
Vector chosen(Integers mask, Vector one, Vector other) {
  return (Vector)((mask & (Integers)one) | (~mask & (Integers)other));
}

Vector bounded(Vector x, float limit) {
  x = chosen(x > limit, all(limit), x);
  return chosen(x < -limit, all(-limit), x);
}

// 2^n and e^r - 1, where x = n log 2 + r (Cody & Waite 1980, chapter 6); the Taylor series to r^7 is exact in float32.
void reduce(Vector x, Vector* power, Vector* less) {
  constexpr float SHIFT = 12582912.0f;  // 1.5 2^23: added and taken away, it rounds
  const Vector shifted = x * 1.44269504f + SHIFT, n = shifted - SHIFT;
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector sum = all(1.0f / 5040);
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  *less = sum * (r * r) + r;
  *power = (Vector)(((Integers)shifted + (127 - 0x4B400000)) << 23);
}

// 1 / x of a positive and finite x.
Vector inverse(Vector x) {
#ifdef __AVX512F__
  const Vector near = (Vector)_mm512_rcp14_ps((__m512)x);  // to 14 bits, and a step of Newton's method
  return near + near * (1.0f - x * near);
#else
  return 1.0f / x;
#endif
}

Vector sigmoid(Vector x) {
  Vector power, less;
  reduce(bounded(-x, 87.0f), &power, &less);
  return inverse(1.0f + (less * power + power));
}

// (e^2x - 1) / (e^2x + 1), of which the numerator is exact near zero too
Vector tangent(Vector x) {
  Vector power, less;
  reduce(bounded(2.0f * x, 40.0f), &power, &less);
  const Vector above = less * power + (power - 1.0f);
  return above * inverse(above + 2.0f);
}

// The first `count` floats of a vector, zeros beyond.
Vector read(const float* from, long count) {
  if (count >= FLOATS) return *(const Vector*)from;
  Vector x{};
  if (count > 0) std::memcpy(&x, from, count * sizeof(float));
  return x;
}

void write(float* to, Vector x, long count) {
  if (count >= FLOATS) *(Vector*)to = x;
  else if (count > 0) std::memcpy(to, &x, count * sizeof(float));
}

float sum(Vector x) {
  float total = 0;
  for (int n = 0; n < FLOATS; n++) total += x[n];
  return total;
}

// z [R, P WIDTH] += x [R, depth] w [P, depth, WIDTH]. Strides in floats: of x from row to row and along the depth.
struct Factors {
  const float* x;
  long x_row, x_depth;
  const float* w;
  long w_panel, depth;
  float* z;
  long z_row;
};

template <int R, int P>
void block(const Factors& of) {
  constexpr int N = P * VECTORS;
  const float *x = of.x, *w = of.w;
  const long x_row = of.x_row, w_panel = of.w_panel;
  Vector sums[R][N], row[N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) sums[r][n] = *(const Vector*)(of.z + r * of.z_row + n * FLOATS);
  for (long k = 0; k < of.depth; k++, x += of.x_depth, w += WIDTH) {
    if (P == 1)
      for (int n = 0; n < WIDTH; n += LINE) __builtin_prefetch(w + AHEAD * WIDTH + n);
    for (int n = 0; n < N; n++) row[n] = *(const Vector*)(w + n / VECTORS * w_panel + n % VECTORS * FLOATS);
    for (int r = 0; r < R; r++)
      for (int n = 0; n < N; n++) sums[r][n] += x[r * x_row] * row[n];
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) *(Vector*)(of.z + r * of.z_row + n * FLOATS) = sums[r][n];
}

typedef void (*Block)(const Factors&);

template <int P, int... R>
Block of_rows(int rows, std::integer_sequence<int, R...>) {
  static constexpr Block blocks[] = {block<R + 1, P>...};
  return blocks[rows - 1];
}

// z [rows, panels WIDTH] += x [rows, depth] w [panels, depth, WIDTH]
void product(int rows, int panels, Factors of) {
  for (int left = (rows + ROWS - 1) / ROWS; left > 0; left--) {  // in parts as even as can be
    const int part = (rows + left - 1) / left;
    const bool few = part <= FEW;
    Factors one = of;
    for (int panel = 0; panel < panels;) {
      const int at_once = few && panel + TOGETHER <= panels ? TOGETHER : 1;
      one.w = of.w + panel * of.w_panel;
      one.z = of.z + panel * WIDTH;
      if (at_once == TOGETHER) of_rows<TOGETHER>(part, std::make_integer_sequence<int, FEW>())(one);
      else of_rows<1>(part, std::make_integer_sequence<int, ROWS>())(one);
      panel += at_once;
    }
    rows -= part;
    of.x += part * of.x_row;
    of.z += part * of.z_row;
  }
}

}  // namespace
