// SPDX-License-Identifier: MIT
/// \file
/// JPEG through libjpeg-turbo (2.1 or later): an overview, and regions for as little as the file allows.
/// Optional header: needs libjpeg (CMake component `jpeg`).
///
/// What a region costs is what has to be entropy-decoded before it:
///
/// - *one scan of Huffman codes* (most files): the first look passes over the codes down to there, a third of a full decode for
///   all of it, and remembers where rows of MCUs begin (image/jpeg_entropy.hpp; 40 bytes a row). The overview comes of the same
///   pass, from the DC coefficients. From then on any region is copied out as a small JPEG of its own, and costs what it holds.
/// - *the same with restart markers*: where their intervals divide a row of MCUs, the markers say where rows begin. They are
///   looked for down to the region wanted (each byte of the file is read for that once, 8 bytes of memory a marker), and no
///   code above it is understood.
/// - *arithmetic codes*: one pass through all that lies above for all pieces, which leaves out rows and columns nobody wants.
/// - *several scans* (progressive, not interleaved): libjpeg needs the coefficients of the whole picture, 2 bytes each: 3 bytes
///   a pixel at 4:2:0, 6 at 4:4:4. The first look reads them and writes them down as one baseline scan with a restart marker a
///   row of MCUs, in memory, without loss: about the size of the file, kept. From then on regions cost what they do above. A
///   picture that is read whole, scan(0), is not written down.
///
/// Pixels are those of a full decode by the library (accurate integer DCT, smooth upsampling of chroma), bit for bit, wherever
/// decoding began. Block smoothing is off: a picture is what the file says.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/color.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/exif.hpp>
#include <fovea/image/file.hpp>
#include <fovea/image/jpeg_entropy.hpp>
#include <fovea/image/jpeg_session.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// What a file may demand of us.
struct JpegOptions {
  /// The most that the coefficients of a file of several scans may take while they are read. More than 256 MiB are only taken
  /// for a file of at least 1/256 of that: a few bytes cannot demand a gigabyte.
  std::size_t coefficient_bytes = std::size_t{1} << 30U;
  /// Scans of a file: each goes over the whole picture, however short it is.
  int scans = 100;
};

/// A JPEG file. Levels: the picture, and (where it is larger than 8x8) the same at 1/8, {ceil(height / 8), ceil(width / 8)}, by
/// DCT scaling. 8 bits; grey, YCbCr, RGB, CMYK and YCCK; baseline, extended sequential and progressive, Huffman or arithmetic
/// coding, any number of scans; EXIF orientation. Grey from YCbCr is the file's own luma; CMYK and YCCK become RGB by the
/// product rule, R = C K / 255 of what Adobe stores (inverted), (255 - C)(255 - K) / 255 without an Adobe marker.
///
/// Refused with Error: 12 bits, lossless and hierarchical files, 2 or more than 4 components, sampling factors that do not
/// divide the greatest; files of several scans beyond JpegOptions; and damage where it is met: a file that ends too early,
/// codes that do not exist, restart markers that are missing. Bytes too many before a marker and behind the end are passed
/// over.
///
/// Memory: 70 KiB of input and some 50 rows of the picture while it decodes; what memory() says between calls.
class JpegDecoder final : public ImageDecoder<std::uint8_t> {
 public:
  using Options = JpegOptions;

  /// `channels`: 1, 3, 4 (opaque), or 0 for 1 or 3, as the file has.
  explicit JpegDecoder(const std::filesystem::path& path, Index channels = 0, const JpegOptions& options = {})
      : JpegDecoder(detail::JpegBytes(path), channels, options) {}
  /// The same from memory, which must outlive the decoder.
  explicit JpegDecoder(std::span<const std::byte> memory, Index channels = 0, const JpegOptions& options = {})
      : JpegDecoder(detail::JpegBytes(memory), channels, options) {}

  void decode(int level, std::span<const Tile<std::uint8_t>> tiles) override {
    if (tiles.empty()) return;
    if (several_scans_ && rewrite()) return delegate([&](JpegDecoder& d) { d.decode(level, tiles); });
    if (codes_ != nullptr) {
      const std::vector<Group> parts = groups(level, tiles);
      Index rows = 0;
      for (const Group& group : parts) rows = std::max(rows, group.part.bottom());
      if (index_markers(rows) || index_rows(rows)) {
        for (const Group& group : parts) pass(level, &group.part, group.tiles);
        return;
      }
    }
    pass(level, nullptr, tiles);
  }

  void scan(int level, const RowSink<std::uint8_t>& sink) override {
    if (rewritten_ != nullptr) return delegate([&](JpegDecoder& d) { d.scan(level, sink); });
    if (several_scans_ && level > 0 && !unwritable_) {
      (void)rewrite(&sink);
      return;
    }
    // What is wrong with a file that cannot be passed over, if anything, the library says.
    const Index done = level > 0 && averages_ && codes_ != nullptr ? scan_averages(sink) : 0;
    if (level > 0 && done == info_.levels[1].extent[0]) return;
    detail::JpegSession session(bytes_, options_.scans);
    const Counting counting{*this, session};
    start(session, level, extent_);
    read_all(session, [&sink, done](Index row, const std::uint8_t* pixels) {
      if (row >= done) sink(row, pixels);
    });
  }

  /// Bytes kept between calls: rows, where rows of MCUs and restart intervals begin, a file of several scans as one.
  [[nodiscard]] std::size_t memory() const noexcept {
    return band_.capacity() + line_.capacity() + header_.capacity() + bytes_.memory() +
           starts_.capacity() * sizeof(std::uint64_t) + rows_.capacity() * sizeof(detail::JpegRow) +
           (codes_ != nullptr ? sizeof(detail::JpegScan) : 0) + (rewritten_ != nullptr ? rewritten_->memory() : 0);
  }
  /// True where regions are decoded without what lies above them.
  [[nodiscard]] bool enterable() const noexcept { return codes_ != nullptr || rewritten_ != nullptr; }

 private:
  /// Rows asked of libjpeg at a time.
  static constexpr Index kBand = 16;
  /// What starting a decompressor costs, in MCUs decoded.
  static constexpr Index kStart = 40;

  struct Group {
    PixelBox box;
    PixelBox part;  ///< the MCUs around it
    std::vector<Tile<std::uint8_t>> tiles;
  };

  detail::JpegBytes bytes_;
  JpegOptions options_;
  Extents<2> extent_{};     ///< pixels, as stored
  Extents<2> mcu_{};        ///< pixels of an MCU, {height, width}
  Extents<2> grid_{};       ///< MCUs of the picture
  J_COLOR_SPACE stored_{};  ///< colour space
  bool inverted_ = false;   ///< CMYK as Adobe writes it
  bool several_scans_ = false;
  bool context_ = false;                     ///< chroma is halved in height: skipping costs a row of MCUs
  Index interval_ = 0;                       ///< MCUs between restart markers; 0: none
  std::uint64_t entropy_ = 0;                ///< offset of the first scan's data
  bool by_markers_ = false;                  ///< restart markers say where rows of MCUs begin
  std::vector<std::uint8_t> header_;         ///< what decoding needs of the headers, up to SOS
  std::size_t sof_ = 0, sos_ = 0;            ///< where in that
  std::vector<std::uint64_t> starts_;        ///< of the restart intervals found so far, and the end of the last
  std::uint64_t indexed_ = 0;                ///< how far they have been looked for
  bool half_marker_ = false;                 ///< the byte before that is FF
  std::unique_ptr<detail::JpegScan> codes_;  ///< of a file of one scan; null where it cannot be passed over
  std::vector<detail::JpegRow> rows_;        ///< of MCUs, as far as they are known
  bool averages_ = false;                    ///< DC coefficients give the picture at 1/8
  std::unique_ptr<JpegDecoder> rewritten_;
  bool unwritable_ = false;
  std::vector<std::uint8_t> band_;
  std::vector<std::uint8_t> line_;

  /// What a session read is counted when it ends, however it does.
  struct Counting {
    JpegDecoder& decoder;
    const detail::JpegSession& session;
    std::uint64_t before;
    Counting(JpegDecoder& d, const detail::JpegSession& s) noexcept : decoder(d), session(s), before(s.taken()) {}
    Counting(const Counting&) = delete;
    Counting& operator=(const Counting&) = delete;
    ~Counting() { decoder.decoded_.bytes += static_cast<std::int64_t>(session.taken() - before); }
  };

  JpegDecoder(detail::JpegBytes bytes, Index channels, const JpegOptions& options)
      : bytes_(std::move(bytes)), options_(options) {
    detail::JpegSession session(bytes_, options_.scans);
    const Counting counting{*this, session};
    session.open(0, 1);
    const jpeg_decompress_struct& c = session.cinfo;
    extent_ = {static_cast<Index>(c.image_height), static_cast<Index>(c.image_width)};
    stored_ = c.jpeg_color_space;
    inverted_ = c.saw_Adobe_marker != FALSE;
    several_scans_ = jpeg_has_multiple_scans(&session.cinfo) != FALSE;
    const int parts = c.num_components;
    const bool known =
        stored_ == JCS_GRAYSCALE || stored_ == JCS_YCbCr || stored_ == JCS_RGB || stored_ == JCS_CMYK || stored_ == JCS_YCCK;
    require(known, "jpeg: grey, YCbCr, RGB, CMYK or YCCK expected, ", parts, " components of something else came");
    info_.channels = channels_of(parts == 1 ? Index{1} : Index{3}, channels);

    const int across = c.max_h_samp_factor;
    const int down = c.max_v_samp_factor;
    std::uint64_t coefficients = 0;
    for (int i = 0; i < parts; ++i) {
      const jpeg_component_info& part = c.comp_info[i];
      require(across % part.h_samp_factor == 0 && down % part.v_samp_factor == 0, "jpeg: sampling factors that divide ", across,
              "x", down, " expected, component ", i + 1, " has ", part.h_samp_factor, "x", part.v_samp_factor);
      context_ = context_ || part.v_samp_factor * 2 == down;
      const auto whole = [](JDIMENSION blocks, int factor) {
        const auto f = static_cast<std::uint64_t>(factor);
        return (blocks + f - 1) / f * f;
      };
      coefficients +=
          whole(part.width_in_blocks, part.h_samp_factor) * whole(part.height_in_blocks, part.v_samp_factor) * sizeof(JBLOCK);
    }
    if (several_scans_) {
      require(coefficients <= options_.coefficient_bytes, "jpeg: at most ", options_.coefficient_bytes,
              " bytes of coefficients expected, a picture of ", extent_[0], "x", extent_[1], " in several scans needs ",
              coefficients);
      constexpr std::uint64_t kSmall = std::uint64_t{256} << 20U;
      require(coefficients <= kSmall || bytes_.size() >= coefficients / 256, "jpeg: a file of at least ", coefficients / 256,
              " bytes expected for ", extent_[0], "x", extent_[1], " pixels in several scans, ", bytes_.size(), " came");
    }
    mcu_ = parts == 1 ? Extents<2>{DCTSIZE, DCTSIZE} : Extents<2>{DCTSIZE * down, DCTSIZE * across};
    grid_ = {(extent_[0] + mcu_[0] - 1) / mcu_[0], (extent_[1] + mcu_[1] - 1) / mcu_[1]};
    entropy_ = session.offset();
    read_markers();
    interval_ = static_cast<Index>(c.restart_interval);
    if (!several_scans_ && c.arith_code == FALSE && !header_.empty()) read_codes(c);
    by_markers_ = codes_ != nullptr && interval_ > 0 && grid_[1] % interval_ == 0;

    info_.sequential = codes_ == nullptr;
    const auto multiple = [](Index size, Index unit) { return std::max(Index{1}, size / unit) * unit; };
    info_.levels.push_back({extent_, {mcu_[0], multiple(64, mcu_[1])}, {1, 1}});
    if (extent_[0] > DCTSIZE || extent_[1] > DCTSIZE) {
      info_.levels.push_back(
          {{(extent_[0] + 7) / 8, (extent_[1] + 7) / 8}, {multiple(32, mcu_[0] / 8), multiple(128, mcu_[1] / 8)}, {8, 8}});
    }
  }

  /// Goes through the segments before the first scan: EXIF's orientation, and a copy of those that decoding needs. Where they
  /// are unusual the copy stays empty; libjpeg has read them already.
  void read_markers() {
    constexpr std::size_t kMost = std::size_t{32} << 10U;
    std::vector<std::uint8_t> segment;
    bool exif = false;
    std::uint64_t at = 2;
    header_ = {0xFF, 0xD8};
    int marker = 0;
    while (marker != 0xDA) {
      std::array<std::uint8_t, 4> head{};
      if (at + 4 > entropy_ || bytes_.read(at, head.data(), 4) != 4 || head[0] != 0xFF) break;
      marker = head[1];
      if (marker == 0xFF) {
        ++at;
        continue;
      }
      const std::size_t length = static_cast<std::size_t>(head[2]) << 8U | head[3];
      const bool kept = marker == 0xDB || marker == 0xC4 || marker == 0xC0 || marker == 0xC1 || marker == 0xDA ||
                        marker == 0xE0 || marker == 0xEE;
      if (length < 2 || marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD8)) break;
      if (kept || (marker == 0xE1 && !exif)) {
        segment.resize(length + 2);
        if (bytes_.read(at, segment.data(), segment.size()) != segment.size()) break;
        if (marker == 0xE1) {
          const std::span<const std::uint8_t> app1 = std::span(segment).subspan(4);
          exif = app1.size() >= 6 && std::memcmp(app1.data(), "Exif\0", 6) == 0;
          if (exif) info_.orientation = exif_orientation(app1);
        } else {
          if (marker == 0xC0 || marker == 0xC1) sof_ = header_.size();
          if (marker == 0xDA) sos_ = header_.size();
          header_.insert(header_.end(), segment.begin(), segment.end());
        }
      }
      at += length + 2;
    }
    if (at != entropy_ || sof_ == 0 || sos_ == 0 || header_.size() > kMost) header_.clear();
  }

  /// Finds where the restart intervals of the first `rows` rows of MCUs begin and end, reading on from where it stopped; false
  /// where there are none that help, or others than the headers say.
  [[nodiscard]] bool index_markers(Index rows) {
    if (!by_markers_) return false;
    const auto expected = static_cast<std::size_t>((grid_[0] * grid_[1] + interval_ - 1) / interval_);
    const auto wanted = static_cast<std::size_t>(rows * (grid_[1] / interval_)) + 1;
    if (starts_.empty()) {
      starts_.push_back(entropy_);
      indexed_ = entropy_;
    }
    if (starts_.size() >= wanted) return true;
    const auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(detail::JpegSession::kBlock);
    bool done = false;
    while (starts_.size() < wanted && !done) {
      const std::size_t size = bytes_.read(indexed_, buffer.get(), detail::JpegSession::kBlock);
      decoded_.bytes += static_cast<std::int64_t>(size);
      const std::uint8_t* const begin = buffer.get();
      const std::uint8_t* const end = begin + size;
      for (const std::uint8_t* p = begin; p < end && !done;) {
        if (!half_marker_) {
          const void* found = std::memchr(p, 0xFF, static_cast<std::size_t>(end - p));
          if (found == nullptr) break;
          p = static_cast<const std::uint8_t*>(found) + 1;
          half_marker_ = true;
          continue;
        }
        const std::uint8_t code = *p++;
        half_marker_ = code == 0xFF;
        if (code == 0 || code == 0xFF) continue;
        starts_.push_back(indexed_ + static_cast<std::uint64_t>(p - begin));
        // The marker that ends the scan is another one; those within are numbered modulo 8.
        done = code != JPEG_RST0 + (starts_.size() - 2) % 8;
      }
      indexed_ += size;
      if (size == 0) {
        // The last interval of a scan that breaks off is what there is.
        starts_.push_back(indexed_ + 2);
        done = true;
      }
    }
    if ((done && starts_.size() != expected + 1) || starts_.size() > expected + 1) {
      // The codes are passed over, which finds out what is wrong.
      starts_ = {};
      by_markers_ = false;
    }
    return by_markers_;
  }

  /// Takes over what the headers say of codes and components; codes_ stays null where that is unusual.
  void read_codes(const jpeg_decompress_struct& c) {
    auto scan = std::make_unique<detail::JpegScan>();
    scan->grid = grid_;
    scan->interval = interval_;
    std::array<bool, 4> dc{};
    std::array<bool, 4> ac{};
    const auto assign = [](detail::JpegCodes& codes, const JHUFF_TBL* table) {
      return table != nullptr && codes.assign(std::span<const std::uint8_t, 16>(table->bits + 1, 16), table->huffval);
    };
    averages_ = stored_ == JCS_GRAYSCALE || stored_ == JCS_YCbCr;
    for (int i = 0; i < c.comps_in_scan; ++i) {
      const jpeg_component_info& part = *c.cur_comp_info[i];
      const auto d = static_cast<std::size_t>(part.dc_tbl_no);
      const auto a = static_cast<std::size_t>(part.ac_tbl_no);
      if (d >= 4 || a >= 4 || part.quant_tbl_no < 0 || part.quant_tbl_no >= NUM_QUANT_TBLS) return;
      const JQUANT_TBL* quantisation = c.quant_tbl_ptrs[part.quant_tbl_no];
      if (part.component_index != i || quantisation == nullptr) return;
      if (!dc[d] && !assign(scan->dc[d], c.dc_huff_tbl_ptrs[d])) return;
      if (!ac[a] && !assign(scan->ac[a], c.ac_huff_tbl_ptrs[a])) return;
      dc[d] = ac[a] = true;
      detail::JpegComponent& component = scan->components.emplace_back();
      component.dc_table = d;
      component.ac_table = a;
      std::copy_n(quantisation->quantval, 64, component.quantisation.begin());
      if (c.comps_in_scan == 1) continue;  // blocks in order, whatever its sampling
      component.across = part.h_samp_factor;
      component.down = part.v_samp_factor;
      const bool whole = part.h_samp_factor == c.max_h_samp_factor && part.v_samp_factor == c.max_v_samp_factor;
      component.halved = 2 * part.h_samp_factor == c.max_h_samp_factor && 2 * part.v_samp_factor == c.max_v_samp_factor;
      averages_ = averages_ && (whole || component.halved);
    }
    rows_.push_back({entropy_, 0, {}, 0});
    codes_ = std::move(scan);
  }

  /// Passes over the first `rows` rows of MCUs, where that was not done yet; false where they are damaged.
  [[nodiscard]] bool index_rows(Index rows) {
    if (rows <= static_cast<Index>(rows_.size())) return true;
    detail::JpegWalk<detail::JpegBytes> walk(*codes_, bytes_);
    walk.seek(rows_.back());
    while (static_cast<Index>(rows_.size()) < rows) {
      if (!walk.skip_row()) {
        codes_.reset();
        averages_ = false;
        break;
      }
      rows_.push_back(walk.place());
    }
    decoded_.bytes += static_cast<std::int64_t>(walk.taken());
    return codes_ != nullptr;
  }

  /// The picture at 1/8 from the means of its blocks, to the end or to where the file is damaged; returns the rows that were
  /// handed out. Notes where rows of MCUs begin.
  [[nodiscard]] Index scan_averages(const RowSink<std::uint8_t>& sink) {
    const Extents<2> extent = info_.levels[1].extent;
    const Index samples = grid_[1] * mcu_[1] / DCTSIZE;
    const Index down = mcu_[0] / DCTSIZE;
    const std::size_t count = codes_->components.size();
    std::vector<std::uint8_t> memory(static_cast<std::size_t>(samples * down) * count);
    std::vector<std::array<std::uint8_t*, 8>> planes(count);
    for (std::size_t i = 0; i < count; ++i) {
      for (Index r = 0; r < down; ++r) {
        planes[i][static_cast<std::size_t>(r)] = memory.data() + (static_cast<Index>(i) * down + r) * samples;
      }
    }
    std::vector<std::uint8_t> line(static_cast<std::size_t>(extent[1] * 7));
    detail::JpegWalk<detail::JpegBytes> walk(*codes_, bytes_);
    walk.seek(rows_.front());
    Index done = 0;
    for (Index row = 0; row < grid_[0]; ++row) {
      if (row == static_cast<Index>(rows_.size())) rows_.push_back(walk.place());
      if (!walk.average_row(planes)) {
        averages_ = false;
        if (!by_markers_) codes_.reset();
        break;
      }
      for (Index r = 0; r < down && done < extent[0]; ++r, ++done) {
        std::array<const std::uint8_t*, 3> from{};
        for (std::size_t i = 0; i < count; ++i) from[i] = planes[i][static_cast<std::size_t>(r)];
        sink(done, averaged(from, count, extent[1], line.data()));
      }
    }
    decoded_.bytes += static_cast<std::int64_t>(walk.taken());
    decoded_.pixels += done * extent[1];
    return done;
  }
  /// A row of grey, or of Y, Cb, Cr, in the channels wanted; `line`: 7 bytes a pixel.
  [[nodiscard]] const std::uint8_t* averaged(const std::array<const std::uint8_t*, 3>& from, std::size_t count, Index width,
                                             std::uint8_t* line) const {
    if (info_.channels == 1) return from[0];
    if (count == 1) {
      convert_pixels(from[0], 1, line, info_.channels, width);
      return line;
    }
    for (Index x = 0; x < width; ++x) {
      // JFIF 1.02, in steps of 2^-16.
      const std::int32_t y = from[0][x] * 65536 + 32768;
      const std::int32_t cb = from[1][x] - 128;
      const std::int32_t cr = from[2][x] - 128;
      const auto sample = [](std::int32_t v) { return static_cast<std::uint8_t>(std::clamp(v >> 16, 0, 255)); };
      line[3 * x] = sample(y + 91881 * cr);
      line[3 * x + 1] = sample(y - 22554 * cb - 46802 * cr);
      line[3 * x + 2] = sample(y + 116130 * cb);
    }
    if (info_.channels == 3) return line;
    convert_pixels(line, 3, line + 3 * width, info_.channels, width);
    return line + 3 * width;
  }

  /// A rectangle of MCUs as a file of its own, of {height, width} = `extent`; empty where its codes are not understood.
  [[nodiscard]] std::vector<std::uint8_t> copy_out(const PixelBox& part, Extents<2> extent) {
    const auto sos = header_.begin() + static_cast<std::ptrdiff_t>(sos_);
    std::vector<std::uint8_t> file(header_.begin(), sos);
    const auto put = [&](std::size_t at, Index v) {
      file[at] = static_cast<std::uint8_t>(v >> 8);
      file[at + 1] = static_cast<std::uint8_t>(v & 255);
    };
    put(sof_ + 5, extent[0]);
    put(sof_ + 7, extent[1]);
    const std::vector<std::uint8_t> tables = detail::jpeg_dc_tables();
    file.insert(file.end(), tables.begin(), tables.end());
    file.insert(file.end(), sos, header_.end());
    detail::JpegWalk<detail::JpegBytes> walk(*codes_, bytes_);
    detail::JpegBitWriter writer(file);
    std::array<std::int32_t, 4> dc{};
    const Index first = by_markers_ ? part.left / interval_ : 0;  // intervals of a row
    const Index last = by_markers_ ? (part.right() - 1) / interval_ : 0;
    if (!by_markers_) walk.seek(rows_[static_cast<std::size_t>(part.top)]);
    for (Index row = part.top; row < part.bottom(); ++row) {
      if (by_markers_) {
        const std::uint64_t* const starts = starts_.data() + row * (grid_[1] / interval_);
        walk.seek({starts[first], 0, {}, 0}, starts[last + 1] - 2);
      }
      if (walk.copy_row(first * interval_, part.left, part.right(), dc, writer, !by_markers_)) continue;
      decoded_.bytes += static_cast<std::int64_t>(walk.taken());
      return {};
    }
    writer.finish();
    decoded_.bytes += static_cast<std::int64_t>(walk.taken());
    file.insert(file.end(), {0xFF, JPEG_EOI});
    file.resize(file.size() + detail::JpegSession::kSlack);
    return file;
  }

  /// The MCUs that hold a box of a level, with the pixel beside each edge, which smooth upsampling needs.
  /// (One column of MCUs on the left, so that what is left of a picture's last MCU is never too narrow to be smoothed.)
  [[nodiscard]] PixelBox part_of(int level, const PixelBox& box) const noexcept {
    const Index scale = level == 0 ? 1 : DCTSIZE;
    const Extents<2> mcu{mcu_[0] / scale, mcu_[1] / scale};
    const Index top = std::max(Index{0}, box.top - 1) / mcu[0];
    const Index left = std::max(Index{0}, box.left / mcu[1] - 1);
    const Index bottom = std::min(grid_[0], box.bottom() / mcu[0] + 1);
    const Index right = std::min(grid_[1], box.right() / mcu[1] + 1);
    return {top, left, bottom - top, right - left};
  }
  [[nodiscard]] static Index cost(const PixelBox& part) noexcept { return part.height * part.width + kStart; }

  /// Puts pieces together where decoding them together is no dearer.
  [[nodiscard]] std::vector<Group> groups(int level, std::span<const Tile<std::uint8_t>> tiles) const {
    std::vector<Group> all;
    const auto join = [&](Group& to, Group& from) {
      const Index top = std::min(to.box.top, from.box.top);
      const Index left = std::min(to.box.left, from.box.left);
      const PixelBox box{top, left, std::max(to.box.bottom(), from.box.bottom()) - top,
                         std::max(to.box.right(), from.box.right()) - left};
      const PixelBox part = part_of(level, box);
      if (cost(part) > cost(to.part) + cost(from.part)) return false;
      to.box = box;
      to.part = part;
      to.tiles.insert(to.tiles.end(), from.tiles.begin(), from.tiles.end());
      return true;
    };
    const auto settle = [&](std::size_t row_begin) {
      for (std::size_t i = row_begin; i < all.size();) {
        bool joined = false;
        for (std::size_t k = row_begin; k-- > 0 && !joined;) joined = join(all[k], all[i]);
        if (joined)
          all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
        else
          ++i;
      }
    };
    // First along a row of pieces, then row to row.
    std::size_t row_begin = 0;
    for (const Tile<std::uint8_t>& tile : tiles) {
      if (all.size() > row_begin && all[row_begin].tiles.front().box.top != tile.box.top) {
        settle(row_begin);
        row_begin = all.size();
      }
      Group one{tile.box, part_of(level, tile.box), {tile}};
      if (all.size() == row_begin || !join(all.back(), one)) all.push_back(std::move(one));
    }
    settle(row_begin);
    for (Group& group : all) {
      std::sort(group.tiles.begin(), group.tiles.end(), [](const Tile<std::uint8_t>& a, const Tile<std::uint8_t>& b) {
        return a.box.top != b.box.top ? a.box.top < b.box.top : a.box.left < b.box.left;
      });
    }
    return all;
  }

  /// Opens a picture of {height, width} = `extent` and begins to decode it at a level's scale.
  void start(detail::JpegSession& session, int level, Extents<2> extent, Index row = 0) const {
    session.open(row, extent_[0]);
    jpeg_decompress_struct& c = session.cinfo;
    require(static_cast<Index>(c.image_height) == extent[0] && static_cast<Index>(c.image_width) == extent[1] &&
                c.jpeg_color_space == stored_,
            "jpeg: the file changed while it was read");
    configure(c, level);
    session.call([&c] { jpeg_start_decompress(&c); });
    if (several_scans_) session.require_complete();
  }

  void configure(jpeg_decompress_struct& c, int level) const noexcept {
    c.scale_num = 1;
    c.scale_denom = level == 0 ? 1 : DCTSIZE;
    c.dct_method = JDCT_ISLOW;
    c.do_block_smoothing = FALSE;
    const bool inks = stored_ == JCS_CMYK || stored_ == JCS_YCCK;
    c.out_color_space = inks ? JCS_CMYK : info_.channels == 1 ? JCS_GRAYSCALE : info_.channels == 3 ? JCS_RGB : JCS_EXT_RGBA;
  }

  /// Decodes `count` <= kBand rows into band_.
  void read_rows(detail::JpegSession& session, Index count) {
    jpeg_decompress_struct& c = session.cinfo;
    const std::size_t row = static_cast<std::size_t>(c.output_width) * static_cast<std::size_t>(c.output_components);
    if (band_.size() < row * static_cast<std::size_t>(kBand)) band_.resize(row * static_cast<std::size_t>(kBand));
    std::array<JSAMPROW, kBand> rows{};
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = band_.data() + i * row;
    JSAMPROW* const to = rows.data();
    const auto wanted = static_cast<JDIMENSION>(count);
    session.call([&c, to, wanted] {
      for (JDIMENSION done = 0; done < wanted;) done += jpeg_read_scanlines(&c, to + done, wanted - done);
    });
    decoded_.pixels += count * static_cast<Index>(c.output_width);
  }
  /// Decodes all rows.
  void read_all(detail::JpegSession& session, const RowSink<std::uint8_t>& sink) {
    const auto height = static_cast<Index>(session.cinfo.output_height);
    const auto width = static_cast<Index>(session.cinfo.output_width);
    for (Index row = 0; row < height;) {
      const Index count = std::min(kBand, height - row);
      read_rows(session, count);
      for (Index i = 0; i < count; ++i) sink(row + i, converted(session.cinfo, i, width));
      row += count;
    }
  }
  /// Row i of band_ with the channels wanted.
  [[nodiscard]] const std::uint8_t* converted(const jpeg_decompress_struct& c, Index i, Index width) {
    const std::uint8_t* from = band_.data() + i * static_cast<Index>(c.output_width) * c.output_components;
    if (c.out_color_space != JCS_CMYK) return from;
    const auto pixels = static_cast<std::size_t>(width);
    if (line_.size() < pixels * 7) line_.resize(pixels * 7);
    std::uint8_t* const rgb = line_.data();
    const unsigned flip = inverted_ ? 0U : 255U;
    for (std::size_t x = 0; x < pixels; ++x, from += 4) {
      const unsigned black = from[3] ^ flip;
      for (std::size_t k = 0; k < 3; ++k) rgb[3 * x + k] = static_cast<std::uint8_t>(((from[k] ^ flip) * black + 127U) / 255U);
    }
    if (info_.channels == 3) return rgb;
    convert_pixels(rgb, 3, rgb + pixels * 3, info_.channels, width);
    return rgb + pixels * 3;
  }

  /// One pass through the file, or through a copy of the MCUs of `part`, for all pieces.
  void pass(int level, const PixelBox* part, std::span<const Tile<std::uint8_t>> tiles) {
    const Index scale = level == 0 ? 1 : DCTSIZE;
    Extents<2> extent = extent_;
    PixelBox origin;
    std::optional<detail::JpegBytes> copied;
    if (part != nullptr) {
      origin.top = part->top * mcu_[0];
      origin.left = part->left * mcu_[1];
      extent = {std::min(part->height * mcu_[0], extent_[0] - origin.top),
                std::min(part->width * mcu_[1], extent_[1] - origin.left)};
      std::vector<std::uint8_t> copy = copy_out(*part, extent);
      // Damaged, or unusual: the library, which reads it from the top, knows which.
      if (copy.empty()) return pass(level, nullptr, tiles);
      copied.emplace(std::move(copy));
    }
    detail::JpegSession session(copied ? *copied : bytes_, options_.scans);
    std::optional<Counting> counting;
    if (!copied) counting.emplace(*this, session);  // what was copied out is counted
    start(session, level, extent, origin.top);
    jpeg_decompress_struct& c = session.cinfo;
    Index left = origin.left / scale;
    Index width = static_cast<Index>(c.output_width);
    if (level == 0) {
      // Columns that anyone wants, and those beside them. (At 1/8 libjpeg-turbo 2.1 crops some samplings wrongly, and
      // there is nothing to gain.)
      Index from = tiles.front().box.left;
      Index to = 0;
      for (const Tile<std::uint8_t>& tile : tiles) {
        from = std::min(from, tile.box.left);
        to = std::max(to, tile.box.right());
      }
      from = std::max(Index{0}, (from - left) / mcu_[1] - 1) * mcu_[1];
      to = std::min(width, ((to - left) / mcu_[1] + 1) * mcu_[1]);
      if (to - from < width) {
        auto x = static_cast<JDIMENSION>(from);
        auto n = static_cast<JDIMENSION>(to - from);
        session.call([&c, &x, &n] { jpeg_crop_scanline(&c, &x, &n); });
        left += static_cast<Index>(x);
        width = static_cast<Index>(n);
      }
    }
    const Index mcu_rows = mcu_[0] / scale;
    std::size_t next = 0;  // pieces before it are done
    Index row = origin.top / scale + static_cast<Index>(c.output_scanline);
    while (true) {
      while (next < tiles.size() && tiles[next].box.bottom() <= row) ++next;
      if (next == tiles.size()) break;
      // Rows [row, end) are wanted, or none before `begin`.
      Index begin = std::numeric_limits<Index>::max();
      Index end = row;
      for (std::size_t i = next; i < tiles.size() && tiles[i].box.top < row + kBand; ++i) {
        if (tiles[i].box.bottom() <= row) continue;
        begin = std::min(begin, tiles[i].box.top);
        end = std::max(end, tiles[i].box.bottom());
      }
      if (end == row) begin = tiles[next].box.top;
      if (begin > row) {
        // libjpeg-turbo 2.1 hands out rows from before when it skips from within a group of rows that share chroma.
        const auto within = static_cast<Index>(c.output_scanline) % c.max_v_samp_factor;
        if (within != 0) {
          const Index count = std::min(begin - row, c.max_v_samp_factor - within);
          read_rows(session, count);
          row += count;
          continue;
        }
        const auto count = static_cast<JDIMENSION>(begin - row);
        session.call([&c, count] { jpeg_skip_scanlines(&c, count); });
        // With chroma to be smoothed, libjpeg decodes the row of MCUs before the one wanted.
        if (context_ && level == 0) decoded_.pixels += std::min(begin - row, mcu_rows) * width;
        row = begin;
        continue;
      }
      const Index count = std::min(kBand, end - row);
      read_rows(session, count);
      for (Index i = 0; i < count; ++i) {
        const std::uint8_t* const pixels = converted(c, i, width);
        for (std::size_t k = next; k < tiles.size() && tiles[k].box.top <= row + i; ++k) {
          const PixelBox& box = tiles[k].box;
          if (box.bottom() <= row + i) continue;
          std::copy_n(pixels + (box.left - left) * info_.channels, box.width * info_.channels,
                      tiles[k].pixels.data() + (row + i - box.top) * tiles[k].pixels.stride(0));
        }
      }
      row += count;
    }
  }

  template <class Call>
  void delegate(const Call& call) {
    const Decoded before = rewritten_->decoded();
    const auto count = [&] {
      decoded_.bytes += rewritten_->decoded().bytes - before.bytes;
      decoded_.pixels += rewritten_->decoded().pixels - before.pixels;
    };
    try {
      call(*rewritten_);
    } catch (...) {
      count();
      throw;
    }
    count();
  }

  /// Writes a file of several scans down as one that can be entered, the first time; false where that cannot be (sampling
  /// factors that no single scan may have, say): then every look decodes it all. `sink` takes the rows of level 1 on the way.
  [[nodiscard]] bool rewrite(const RowSink<std::uint8_t>* sink = nullptr) {
    if (rewritten_ != nullptr || unwritable_) return rewritten_ != nullptr;
    std::vector<std::uint8_t> single;
    {
      detail::JpegSession session(bytes_, options_.scans);
      const Counting counting{*this, session};
      session.open(0, extent_[0]);
      // Mode "buffered image": all scans are read before a pixel is made, and the coefficients stay.
      session.cinfo.buffered_image = TRUE;
      configure(session.cinfo, sink != nullptr ? 1 : 0);
      session.read_scans();
      if (sink != nullptr) {
        session.call([&session] { jpeg_start_output(&session.cinfo, session.cinfo.input_scan_number); });
        read_all(session, *sink);
        session.call([&session] { jpeg_finish_output(&session.cinfo); });
      }
      jvirt_barray_ptr* coefficients = nullptr;
      session.call([&session, &coefficients] { coefficients = jpeg_read_coefficients(&session.cinfo); });
      single = detail::jpeg_as_one_scan(session, coefficients);
    }
    if (!single.empty()) {
      std::unique_ptr<JpegDecoder> one(new JpegDecoder(detail::JpegBytes(std::move(single)), info_.channels, options_));
      one->inverted_ = inverted_;
      if (!one->several_scans_ && one->extent_ == extent_ && one->stored_ == stored_) rewritten_ = std::move(one);
    }
    unwritable_ = rewritten_ == nullptr;
    return !unwritable_;
  }
};

/// Opens a JPEG file. Throws Error where it is none, or one that JpegDecoder refuses.
[[nodiscard]] inline ImageFile open_jpeg(const std::filesystem::path& path, const ImageFileOptions& options = {},
                                         const JpegOptions& jpeg = {}) {
  return ImageFile(std::make_unique<JpegDecoder>(path, options.channels, jpeg), options);
}
/// The same from memory, which must outlive what is returned.
[[nodiscard]] inline ImageFile open_jpeg(std::span<const std::byte> memory, const ImageFileOptions& options = {},
                                         const JpegOptions& jpeg = {}) {
  return ImageFile(std::make_unique<JpegDecoder>(memory, options.channels, jpeg), options);
}

}  // namespace fovea::inline FOVEA_ABI
