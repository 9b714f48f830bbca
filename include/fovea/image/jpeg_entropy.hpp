// SPDX-License-Identifier: MIT
/// \file
/// What of a JPEG's Huffman coding has to be understood to enter a file anywhere, though it has no restart markers.
///
/// A sequential scan can be entered at any row of MCUs, restart markers or not, once it is known at which bit the row begins
/// and what the DC predictions are there: 40 bytes a row, found in one pass that reads codes and passes over what they
/// say. The same pass sees all DC coefficients, which are the picture at 1/8. Then a rectangle of MCUs is copied out as a small
/// JPEG file of its own, without loss (jpegtran -crop does the same with the whole picture in memory), for the library to
/// decode. Nothing here makes pixels of AC coefficients, but for the chroma of 4:2:0, whose share of 1/8 needs the odd ones.
///
/// Cost: a pass takes 16 ms where libjpeg-turbo's entropy decoding takes 22 and a full decode 46 (12 megapixels, 1.9 MB), and
/// memory is one block of the file.
/// Anything unusual (a code that does not exist, a marker, the end) is reported, never interpreted: the library then says what
/// is wrong with the file.
///
/// ITU-T T.81 (1992), annexes A, F and K; the reduced inverse transform is that of D. Smith's and libjpeg's scaled DCT: the
/// mean of a quadrant of the block.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/view.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace detail {

/// A Huffman table as DHT has it, made ready to read by 11 bits at a time.
class JpegCodes {
 public:
  /// `counts`: codes of 1 to 16 bits; `symbols` in order of their codes. False where they contradict themselves.
  [[nodiscard]] bool assign(std::span<const std::uint8_t, 16> counts, std::span<const std::uint8_t> symbols) noexcept {
    entries_.fill(0);
    std::uint32_t code = 0;
    std::size_t at = 0;
    for (std::uint32_t length = 1; length <= 16; ++length, code <<= 1U) {
      first_[length] = code;
      offset_[length] = at;
      for (std::uint8_t i = 0; i < counts[length - 1]; ++i, ++code, ++at) {
        if (at >= symbols.size() || code >= (1U << length)) return false;
        symbols_[at] = symbols[at];
        if (length > kBits) continue;
        const std::uint32_t step = 1U << (kBits - length);
        std::fill_n(entries_.begin() + (code << (kBits - length)), step, entry(length, symbols[at]));
      }
      count_[length] = counts[length - 1];
    }
    return at > 0;
  }
  /// What find_several needs: 0.05 ms, which a file that is not passed over should not pay.
  void prepare_several() noexcept {
    if (prepared_) return;
    prepared_ = true;
    for (std::uint32_t bits = 0; bits < several_.size(); ++bits) several_[bits] = several(bits);
  }
  /// The entry of the code that `bits` (64, from the top) begins with; 0 where there is no such code.
  [[nodiscard]] FOVEA_ALWAYS_INLINE std::uint32_t find(std::uint64_t bits) const noexcept {
    const std::uint32_t e = entries_[static_cast<std::size_t>(bits >> (64U - kBits))];
    return e != 0 ? e : find_long(bits);
  }

  /// As many codes, with what follows them, as the highest 12 bits of `bits` hold, up to the end of a block: 0 where not even
  /// one.
  [[nodiscard]] FOVEA_ALWAYS_INLINE std::uint32_t find_several(std::uint64_t bits) const noexcept {
    return several_[static_cast<std::size_t>(bits >> (64U - kSeveralBits))];
  }
  // What such an entry says.
  static constexpr std::uint32_t several_total(std::uint32_t e) noexcept { return e & 15U; }             ///< bits
  static constexpr std::uint32_t several_advance(std::uint32_t e) noexcept { return (e >> 4U) & 255U; }  ///< coefficients
  static constexpr bool several_end(std::uint32_t e) noexcept { return (e >> 12U) != 0; }  ///< and the end of the block

  // What an entry says.
  static constexpr std::uint32_t length(std::uint32_t e) noexcept { return e & 31U; }             ///< of the code
  static constexpr std::uint32_t total(std::uint32_t e) noexcept { return (e >> 5U) & 31U; }      ///< with what follows it
  static constexpr std::uint32_t size(std::uint32_t e) noexcept { return (e >> 10U) & 15U; }      ///< of what follows it
  static constexpr std::uint32_t advance(std::uint32_t e) noexcept { return (e >> 14U) & 127U; }  ///< coefficients
  /// What the end of a block advances by: beyond all that a run can.
  static constexpr std::uint32_t kEnd = 127;

 private:
  static constexpr std::uint32_t kBits = 11;
  static constexpr std::uint32_t entry(std::uint32_t length, std::uint8_t symbol) noexcept {
    const std::uint32_t run = symbol >> 4U;
    const std::uint32_t size = symbol & 15U;
    const std::uint32_t advance = size != 0 ? run + 1 : run == 15 ? 16 : kEnd;
    return length | (length + size) << 5U | size << 10U | advance << 14U;
  }
  [[nodiscard]] std::uint32_t find_long(std::uint64_t bits) const noexcept {
    for (std::uint32_t length = kBits + 1; length <= 16; ++length) {
      const auto code = static_cast<std::uint32_t>(bits >> (64U - length));
      if (code - first_[length] < count_[length]) return entry(length, symbols_[offset_[length] + code - first_[length]]);
    }
    return 0;
  }

  static constexpr std::uint32_t kSeveralBits = 12;
  [[nodiscard]] std::uint16_t several(std::uint32_t bits) const noexcept {
    std::uint32_t total_bits = 0;
    std::uint32_t coefficients = 0;
    while (total_bits < kSeveralBits) {
      const std::uint64_t rest = std::uint64_t{bits} << (64U - kSeveralBits + total_bits);
      const std::uint32_t e = entries_[static_cast<std::size_t>(rest >> (64U - kBits))];
      if (e == 0 || total_bits + total(e) > kSeveralBits) break;
      total_bits += total(e);
      if (advance(e) == kEnd) return static_cast<std::uint16_t>(total_bits | coefficients << 4U | 1U << 12U);
      coefficients += advance(e);
    }
    return static_cast<std::uint16_t>(total_bits | coefficients << 4U);
  }

  std::array<std::uint32_t, std::size_t{1} << kBits> entries_{};
  std::array<std::uint16_t, std::size_t{1} << kSeveralBits> several_{};
  bool prepared_ = false;
  std::array<std::uint8_t, 256> symbols_{};
  std::array<std::uint32_t, 17> first_{}, count_{};
  std::array<std::size_t, 17> offset_{};
};

/// Where a row of MCUs begins.
struct JpegRow {
  std::uint64_t byte = 0;            ///< in the file
  std::uint32_t bit = 0;             ///< of that byte, 0 the highest
  std::array<std::int32_t, 4> dc{};  ///< predictions, by component
  std::uint32_t since = 0;           ///< MCUs since the last restart marker
};

/// The data of a scan without its stuffing, a block at a time. `Bytes`: read(offset, to, count) -> how many there were.
template <class Bytes>
class JpegBits {
 public:
  /// More than any MCU takes: 10 blocks of 64 codes with 31 bits each.
  static constexpr std::size_t kMost = 2560;

  /// `markers`: there may be restart markers; otherwise one ends the data.
  JpegBits(const Bytes& bytes, bool markers) : bytes_(&bytes), markers_(markers) {}

  /// `end`: where the file is not read any further.
  void seek(const JpegRow& row, std::uint64_t end) {
    begin_ = next_ = row.byte;
    limit_ = std::max(end, row.byte);
    size_ = 0;
    stuffed_.clear();
    restarts_.clear();
    next_restart_ = 0;
    last_restart_ = -1;
    ended_ = false;
    half_ = false;
    position = row.bit;
  }
  [[nodiscard]] JpegRow place() const noexcept {
    const std::size_t at = position >> 3U;
    const auto before = std::lower_bound(stuffed_.begin(), stuffed_.end(), at) - stuffed_.begin();
    return {begin_ + at + static_cast<std::uint64_t>(before), static_cast<std::uint32_t>(position & 7U), {}, 0};
  }
  /// Makes sure that an MCU can be read; false where the data have ended before the position.
  [[nodiscard]] FOVEA_ALWAYS_INLINE bool need() {
    while ((position >> 3U) + kMost > size_ && !ended_) [[unlikely]] refill();
    return !passed_end();
  }
  /// Goes over a restart marker, which has to be here but for the bits that fill its byte; false where there is none.
  [[nodiscard]] bool restart() {
    const bool there = need();
    position = (position + 7) / 8 * 8;
    if (!there || next_restart_ == restarts_.size() || restarts_[next_restart_] != position >> 3U) return false;
    ++next_restart_;
    return true;
  }
  /// 57 bits or more from the position on, from the top.
  [[nodiscard]] FOVEA_ALWAYS_INLINE std::uint64_t bits() const noexcept { return bits(position); }
  [[nodiscard]] FOVEA_ALWAYS_INLINE std::uint64_t bits(std::size_t at) const noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, data_.data() + (at >> 3U), 8);
    if constexpr (std::endian::native == std::endian::little) word = swap_bytes(word);
    return word << (at & 7U);
  }
  /// True where what was read lay behind the end.
  [[nodiscard]] bool passed_end() const noexcept { return position > 8 * size_; }
  /// Bytes of the file that were read.
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }

  std::size_t position = 0;  ///< in bits, from the beginning of the block

 private:
  static constexpr std::size_t kBlock = std::size_t{32} << 10U;

  static std::uint64_t swap_bytes(std::uint64_t v) noexcept {
    v = ((v & 0x00FF00FF00FF00FFU) << 8U) | ((v >> 8U) & 0x00FF00FF00FF00FFU);
    v = ((v & 0x0000FFFF0000FFFFU) << 16U) | ((v >> 16U) & 0x0000FFFF0000FFFFU);
    return (v << 32U) | (v >> 32U);
  }

  void refill() {
    const std::size_t used = position >> 3U;
    if (data_.empty()) data_.resize(kMost + kBlock + 2 * kMost + 16);
    const auto gone = std::lower_bound(stuffed_.begin(), stuffed_.end(), used);
    begin_ += used + static_cast<std::uint64_t>(gone - stuffed_.begin());
    stuffed_.erase(stuffed_.begin(), gone);
    for (std::size_t& at : stuffed_) at -= used;
    restarts_.erase(restarts_.begin(), restarts_.begin() + static_cast<std::ptrdiff_t>(next_restart_));
    next_restart_ = 0;
    for (std::size_t& at : restarts_) at -= std::min(at, used);
    std::memmove(data_.data(), data_.data() + used, size_ - used);
    size_ -= used;
    position &= 7U;

    block_.resize(kBlock);
    const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, limit_ - next_));
    const std::size_t count = bytes_->read(next_, block_.data(), room);
    next_ += count;
    taken_ += count;
    ended_ = count == 0;
    for (std::size_t i = 0; i < count && !ended_;) {
      if (half_) {  // behind FF
        half_ = false;
        const int code = block_[i];
        if (code == 0) {
          stuffed_.push_back(size_);
          data_[size_++] = 0xFF;
          ++i;
        } else if (markers_ && code >= 0xD0 && code <= 0xD7 && (last_restart_ < 0 || code == 0xD0 + (last_restart_ + 1) % 8)) {
          last_restart_ = code - 0xD0;
          // Its two bytes lie before what follows, behind what came.
          if (size_ > 0) stuffed_.insert(stuffed_.end(), 2, size_ - 1);
          if (size_ == 0) begin_ += 2;
          restarts_.push_back(size_);
          ++i;
        } else {
          ended_ = true;  // another marker
        }
        continue;
      }
      const void* found = std::memchr(block_.data() + i, 0xFF, count - i);
      const std::size_t end =
          found == nullptr ? count : static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - block_.data());
      std::memcpy(data_.data() + size_, block_.data() + i, end - i);
      size_ += end - i;
      i = end + 1;
      half_ = found != nullptr;
    }
    std::memset(data_.data() + size_, 0, 2 * kMost);
  }

  const Bytes* bytes_;
  std::vector<std::uint8_t> data_, block_;
  std::vector<std::size_t> stuffed_;   ///< behind these indices in data_ the file has a byte more
  std::vector<std::size_t> restarts_;  ///< before these there was a restart marker
  std::size_t next_restart_ = 0;       ///< of those, the first that was not gone over
  int last_restart_ = -1;
  bool markers_;
  std::size_t size_ = 0;
  std::uint64_t begin_ = 0;  ///< offset in the file of data_[0]
  std::uint64_t next_ = 0;   ///< of what is read next
  std::uint64_t limit_ = 0;  ///< and of what is not
  std::uint64_t taken_ = 0;
  bool ended_ = false;
  bool half_ = false;
};

/// Writes bits with stuffing.
class JpegBitWriter {
 public:
  explicit JpegBitWriter(std::vector<std::uint8_t>& out) : out_(out) {}
  /// The lowest `count` <= 32 bits of `value`, the higher ones being 0.
  FOVEA_ALWAYS_INLINE void put(std::uint64_t value, std::uint32_t count) {
    word_ = word_ << count | value;
    filled_ += count;
    while (filled_ >= 8) {
      filled_ -= 8;
      const auto byte = static_cast<std::uint8_t>(word_ >> filled_);
      out_.push_back(byte);
      if (byte == 0xFF) out_.push_back(0);
    }
  }
  /// Ones up to the next byte.
  void finish() {
    if (filled_ > 0) put((1U << (8 - filled_)) - 1, 8 - filled_);
  }

 private:
  std::vector<std::uint8_t>& out_;
  std::uint64_t word_ = 0;
  std::uint32_t filled_ = 0;
};

/// One component of a scan.
struct JpegComponent {
  Index across = 1, down = 1;  ///< blocks of an MCU
  std::size_t dc_table = 0, ac_table = 0;
  std::array<std::uint16_t, 64> quantisation{};  ///< row-major
  /// At 1/8 of the picture a block of it is 2x2 samples, not one: its sampling is half the finest, both ways.
  bool halved = false;
};

/// A sequential Huffman scan of all components.
struct JpegScan {
  std::vector<JpegComponent> components;
  std::array<JpegCodes, 4> dc, ac;
  Extents<2> grid{};   ///< MCUs
  Index interval = 0;  ///< MCUs between restart markers; 0: there are none
};

/// What the coefficients of a block, in zigzag order, add to the means of its quadrants.
struct JpegQuadrants {
  std::array<float, 64> weight{};       ///< of a coefficient, dequantised, in steps of 1/255
  std::array<std::uint8_t, 64> sign{};  ///< 1: of the quadrant's column, 2: of its row, 3: of both; 0: no share

  explicit JpegQuadrants(const std::array<std::uint16_t, 64>& quantisation) {
    // The mean over half a block of the u-th cosine: 0 for even u > 0, opposite in the other half for odd u.
    const auto half = [](std::size_t u) {
      if (u == 0) return 1 / std::numbers::sqrt2;
      double sum = 0;
      for (int x = 0; x < 4; ++x) sum += std::cos((2 * x + 1) * static_cast<double>(u) * std::numbers::pi / 16) / 4;
      return u % 2 == 1 ? sum : 0.0;
    };
    std::size_t u = 0;
    std::size_t v = 0;
    for (std::size_t k = 0; k < 64; ++k) {
      weight[k] = static_cast<float>(half(u) * half(v) / 4 * quantisation[8 * v + u]);
      if (u % 2 == 1 || u == 0) sign[k] = static_cast<std::uint8_t>((u % 2) | (v % 2) << 1U);
      if ((u > 0 && u % 2 == 0) || (v > 0 && v % 2 == 0)) sign[k] = 0;
      // The zigzag goes up on even diagonals, and turns at the edges.
      if ((u + v) % 2 == 0) {
        if (u == 7)
          ++v;
        else if (v == 0)
          ++u;
        else
          ++u, --v;
      } else {
        if (v == 7)
          ++u;
        else if (u == 0)
          ++v;
        else
          --u, ++v;
      }
    }
  }
};

/// The DC code of a part that is copied out: table K.3, which has all sizes (a file's own may lack some).
inline constexpr std::array<std::uint8_t, 16> kJpegDcCounts{0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0};
inline constexpr std::array<std::uint8_t, 12> kJpegDcLengths{2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9};
inline constexpr std::array<std::uint16_t, 12> kJpegDcCodes{0, 2, 3, 4, 5, 6, 14, 30, 62, 126, 254, 510};
/// Its DHT segments, for the tables 0 to 3.
[[nodiscard]] inline std::vector<std::uint8_t> jpeg_dc_tables() {
  std::vector<std::uint8_t> segments;
  for (std::uint8_t id = 0; id < 4; ++id) {
    segments.insert(segments.end(), {0xFF, 0xC4, 0, 2 + 17 + 12, id});
    segments.insert(segments.end(), kJpegDcCounts.begin(), kJpegDcCounts.end());
    for (std::uint8_t size = 0; size < 12; ++size) segments.push_back(size);
  }
  return segments;
}

/// Goes through a scan row of MCUs by row of MCUs. `Bytes`: as JpegBits has it.
template <class Bytes>
class JpegWalk {
 public:
  JpegWalk(JpegScan& scan, const Bytes& bytes) : scan_(&scan), bits_(bytes, scan.interval > 0) {
    for (const JpegComponent& c : scan.components) scan.ac[c.ac_table].prepare_several();
  }

  void seek(const JpegRow& row, std::uint64_t end = std::numeric_limits<std::uint64_t>::max()) {
    bits_.seek(row, end);
    dc_ = row.dc;
    since_ = row.since;
  }
  /// Where it is, between rows.
  [[nodiscard]] JpegRow place() const noexcept {
    JpegRow row = bits_.place();
    row.dc = dc_;
    row.since = since_;
    return row;
  }
  /// Bytes of the file that were read.
  [[nodiscard]] std::uint64_t taken() const noexcept { return bits_.taken(); }

  /// Passes over a row. It and the next two return false where the row is damaged, or the data end in it.
  [[nodiscard]] bool skip_row() {
    return for_each_block(0, scan_->grid[1],
                          [this](const JpegComponent& c, std::size_t, Index, Index, Index) { return skip_block(codes(c)); });
  }

  /// The same, and the picture at 1/8: planes[i][r] is row r of component i, of grid[1] * across samples (`halved`: twice as
  /// many), r below down (halved: twice as many). Samples are 0 to 255.
  [[nodiscard]] bool average_row(std::span<const std::array<std::uint8_t*, 8>> planes) {
    if (quadrants_.empty()) {
      for (const JpegComponent& c : scan_->components) quadrants_.emplace_back(c.quantisation);
    }
    return for_each_block(
        0, scan_->grid[1], [&](const JpegComponent& c, std::size_t i, Index /*mcu*/, Index row, Index column) {
          const std::array<std::uint8_t*, 8>& plane = planes[i];
          if (!c.halved) {
            plane[static_cast<std::size_t>(row)][column] = sample(((dc_[i] * c.quantisation[0] + 4) >> 3) + 128);
            return skip_block(codes(c));
          }
          std::array<float, 4> sums{};
          if (!sum_block(codes(c), quadrants_[i], sums)) return false;
          const float mean = quadrants_[i].weight[0] * static_cast<float>(dc_[i]) + 128.5F;
          const auto quadrant = [&](float across, float down) {
            const float v = mean + across * sums[1] + down * sums[2] + across * down * sums[3];
            return static_cast<std::uint8_t>(std::clamp(v, 0.0F, 255.0F));
          };
          std::uint8_t* const upper = plane[static_cast<std::size_t>(2 * row)] + 2 * column;
          std::uint8_t* const lower = plane[static_cast<std::size_t>(2 * row + 1)] + 2 * column;
          upper[0] = quadrant(1, 1);
          upper[1] = quadrant(-1, 1);
          lower[0] = quadrant(1, -1);
          lower[1] = quadrant(-1, -1);
          return true;
        });
  }

  /// The same as skip_row, and MCUs [from, to) of the row written down. `dc`: what was written last, by component; 0 at the
  /// start of a part. False also where a difference has no code. The walk is at MCU
  /// `begin` of the row. `whole`: the rest of the row is passed over; otherwise a seek has to follow.
  [[nodiscard]] bool copy_row(Index begin, Index from, Index to, std::array<std::int32_t, 4>& dc, JpegBitWriter& writer,
                              bool whole) {
    return for_each_block(
        begin, whole ? scan_->grid[1] : to, [&](const JpegComponent& c, std::size_t i, Index mcu, Index, Index) {
          const std::size_t start = bits_.position;
          if (!skip_block(codes(c))) return false;
          if (mcu < from || mcu >= to) return true;
          const std::int32_t difference = dc_[i] - dc[i];
          dc[i] = dc_[i];
          const auto size = static_cast<std::uint32_t>(std::bit_width(static_cast<std::uint32_t>(std::abs(difference))));
          if (size > 11) return false;
          writer.put(kJpegDcCodes[size], kJpegDcLengths[size]);
          const std::int32_t bits = difference >= 0 ? difference : difference + (1 << size) - 1;
          writer.put(static_cast<std::uint64_t>(bits), size);
          const std::size_t end = bits_.position;
          for (bits_.position = start; bits_.position < end;) {
            const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(32, end - bits_.position));
            writer.put(bits_.bits() >> (64U - count), count);
            bits_.position += count;
          }
          return true;
        });
  }

 private:
  [[nodiscard]] const JpegCodes& codes(const JpegComponent& c) const noexcept { return scan_->ac[c.ac_table]; }
  [[nodiscard]] static std::uint8_t sample(std::int32_t v) noexcept { return static_cast<std::uint8_t>(std::clamp(v, 0, 255)); }

  /// Calls block(component, its number, MCU, row and column of the block in the MCU row) behind the DC code of each block of
  /// MCUs [begin, end) of a row.
  template <class Block>
  [[nodiscard]] bool for_each_block(Index begin, Index end, Block&& block) {
    for (Index mcu = begin; mcu < end; ++mcu) {
      if (restart_due() && !restart()) return false;
      ++since_;
      if (!bits_.need()) return false;
      for (std::size_t i = 0; i < scan_->components.size(); ++i) {
        const JpegComponent& c = scan_->components[i];
        const JpegCodes& dc = scan_->dc[c.dc_table];
        for (Index row = 0; row < c.down; ++row) {
          for (Index column = 0; column < c.across; ++column) {
            if (!next_dc(i, dc) || !block(c, i, mcu, row, mcu * c.across + column)) return false;
          }
        }
      }
    }
    // So that place() lies behind it; there is none at the end of the scan.
    if (restart_due()) (void)restart();
    return !bits_.passed_end();
  }
  [[nodiscard]] bool restart_due() const noexcept {
    return scan_->interval > 0 && static_cast<Index>(since_) == scan_->interval;
  }
  [[nodiscard]] bool restart() {
    if (!bits_.restart()) return false;
    dc_ = {};
    since_ = 0;
    return true;
  }

  /// Adds the next difference to the prediction of component i.
  [[nodiscard]] FOVEA_ALWAYS_INLINE bool next_dc(std::size_t i, const JpegCodes& codes) {
    const std::uint64_t word = bits_.bits();
    const std::uint32_t e = codes.find(word);
    // The symbol of a DC code is a size of at most 11.
    const std::uint32_t size = JpegCodes::size(e);
    if (e == 0 || size > 11 || JpegCodes::advance(e) != (size != 0 ? 1U : JpegCodes::kEnd)) return false;
    dc_[i] += extend(word << JpegCodes::length(e), size);
    bits_.position += JpegCodes::total(e);
    // What 8-bit pictures can have. Differences then have a code in copy_row, and products with a quantiser fit.
    return dc_[i] >= -1024 && dc_[i] < 1024;
  }
  /// The number that the highest `size` bits of `word` stand for (T.81, F.2.2.1).
  [[nodiscard]] static FOVEA_ALWAYS_INLINE std::int32_t extend(std::uint64_t word, std::uint32_t size) noexcept {
    if (size == 0) return 0;
    const auto v = static_cast<std::int32_t>(word >> (64U - size));
    return v >= (1 << (size - 1)) ? v : v - (1 << size) + 1;
  }

  /// Reads the AC codes of a block; at(k, entry, word) for each that has a coefficient, k its place in zigzag order, `word` the
  /// bits from its code on.
  template <class At>
  [[nodiscard]] FOVEA_ALWAYS_INLINE bool read_block(const JpegCodes& codes, At&& at) {
    std::uint32_t k = 1;
    while (k < 64) {
      // 57 bits: two codes of at most 31 and 26, as what follows the second is not looked at here.
      std::uint64_t word = bits_.bits();
      std::uint32_t used = 0;
      do {
        const std::uint32_t e = codes.find(word);
        if (e == 0) return false;
        k += JpegCodes::advance(e);
        if (k <= 64) at(k - 1, e, word);
        word <<= JpegCodes::total(e);
        used += JpegCodes::total(e);
      } while (used <= 26 && k < 64);
      bits_.position += used;
    }
    return k == 64 || k > JpegCodes::kEnd;
  }
  /// The same without looking: several codes at a time.
  [[nodiscard]] FOVEA_ALWAYS_INLINE bool skip_block(const JpegCodes& codes) {
    std::uint32_t k = 1;
    std::size_t position = bits_.position;
    while (true) {
      std::uint64_t word = bits_.bits(position);
      std::uint32_t used = 0;
      do {
        const std::uint32_t e = codes.find_several(word);
        std::uint32_t taken = JpegCodes::several_total(e);
        // Where the block may be full before these codes end, and where there is none so short, one code.
        if (taken == 0 || k + JpegCodes::several_advance(e) >= 64) [[unlikely]] {
          const std::uint32_t one = codes.find(word);
          if (one == 0) return false;
          taken = JpegCodes::total(one);
          k += JpegCodes::advance(one);
          if (k >= 64) {
            bits_.position = position + used + taken;
            return k == 64 || k > JpegCodes::kEnd;
          }
        } else {
          if (JpegCodes::several_end(e)) {
            bits_.position = position + used + taken;
            return true;
          }
          k += JpegCodes::several_advance(e);
        }
        word <<= taken;
        used += taken;
      } while (used <= 26);
      position += used;
    }
  }
  [[nodiscard]] bool sum_block(const JpegCodes& codes, const JpegQuadrants& quadrants, std::array<float, 4>& sums) {
    return read_block(codes, [&](std::uint32_t k, std::uint32_t e, std::uint64_t word) {
      if (quadrants.sign[k] == 0) return;
      sums[quadrants.sign[k]] +=
          quadrants.weight[k] * static_cast<float>(extend(word << JpegCodes::length(e), JpegCodes::size(e)));
    });
  }

  const JpegScan* scan_;
  JpegBits<Bytes> bits_;
  std::array<std::int32_t, 4> dc_{};
  std::uint32_t since_ = 0;
  std::vector<JpegQuadrants> quadrants_;
};

}  // namespace detail
}  // namespace fovea::inline FOVEA_ABI
