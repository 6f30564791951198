// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolution with bias, requantised to uint8, or as raw int32 logits.
//
//   y[c*M + j] = requantise(bias[c*M + j] + sum over ky, kx of w[c*M + j][ky][kx] * x[c][ky][kx])
//
// with x the window of the padded input at the output's position and M = MULTIPLIER.
//
// PE output channels and SIMD products of each are computed at once, for OUT_PIXELS adjacent output
// pixels; none of them need divide the layer's sizes. Streams are in raster order, channel fastest,
// LANES channels a beat in and PE a beat out.
// - With SIMD = 1 and one pixel a beat, it reads the taps of PE channels from memory, and has no
//   registers for windows. The memory is narrowest where a beat or a few hold the channels that PE
//   output channels read: see WORD.
// - Otherwise it keeps the window of all channels in registers.
// Cycles an image: positions / OUT_PIXELS * ceil(CHANNELS*M / PE) * ceil(taps / SIMD), or one an
// input beat where those are more.
// Equals model.network.layers.conv.conv2d, whose groups are its channels, followed by
// model.network.reference.requantise.

`default_nettype none

module depthwise_conv2d #(
    parameter HEIGHT      = 28,
    parameter WIDTH       = 28,
    parameter CHANNELS    = 3,         // of the input
    parameter MULTIPLIER  = 1,         // output channels of each
    parameter KERNEL      = 3,         // the window, see sliding_window
    parameter KERNEL_H    = KERNEL,
    parameter KERNEL_W    = KERNEL,
    parameter STRIDE      = 1,
    parameter STRIDE_H    = STRIDE,
    parameter STRIDE_W    = STRIDE,
    parameter PADDING     = 0,
    parameter PAD_TOP     = PADDING,
    parameter PAD_LEFT    = PADDING,
    parameter PAD_BOTTOM  = PADDING,
    parameter PAD_RIGHT   = PADDING,
    parameter DILATION_H  = 1,
    parameter DILATION_W  = 1,
    parameter PAD_CODE    = 0,         // the code of zero
    parameter LANES       = CHANNELS,  // input channels a beat
    parameter PIXELS      = 1,         // input pixels a beat, see sliding_window
    parameter PE          = 1,         // output channels at once
    parameter SIMD        = 1,         // products at once, of the taps of a window
    parameter ACC_WIDTH   = 32,        // bits that hold every accumulator
    parameter SHIFT       = 0,         // requantising shift
    parameter ZERO_POINT  = 0,         // see clamp_code
    parameter LOW         = 0,         // least code
    parameter HIGH        = 255,       // greatest code
    parameter SCALE_WIDTH = 0,         // bits of a scale, see matrix_vector; 0: shift alone
    parameter SCALE_EXACT = 0,         // see scale_round
    parameter ONE_SCALE   = 0,         // all channels have the same scale
    parameter OUT_WIDTH   = 8,         // 8: uint8, 32: logits
    parameter FABRIC      = 0,         // of SIMD products, those in plain logic
    parameter FIFO_DEPTH  = 16,        // output beats taken up, see matrix_vector
    parameter WEIGHT_FILE = "",        // words of PE*SIMD weights, as in hardware/rom.py
    parameter BIAS_FILE   = "",        // words of PE biases of 32 bits
    parameter SCALE_FILE  = "",        // words of PE scales
    parameter OUT_PIXELS  = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire [8*PIXELS*LANES-1:0]          s_axis_tdata,
    input  wire                               s_axis_tvalid,
    output wire                               s_axis_tready,
    output wire [OUT_WIDTH*OUT_PIXELS*PE-1:0] m_axis_tdata,
    output wire                               m_axis_tlast,
    output wire                               m_axis_tvalid,
    input  wire                               m_axis_tready,
    output wire [31:0]                        signature  // {bias, weight}, see rom_signature
);

    localparam OUT_CHANNELS = CHANNELS * MULTIPLIER;
    localparam TAPS         = KERNEL_H * KERNEL_W;
    localparam GROUPS       = (OUT_CHANNELS + PE - 1) / PE;
    localparam CHUNKS       = (TAPS + SIMD - 1) / SIMD;
    localparam GROUP_WIDTH  = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam CHUNK_WIDTH  = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;
    localparam PADDED       = CHUNKS * SIMD;     // taps, with those that the last chunk lacks
    localparam VECTORS      = OUT_PIXELS * PE;
    localparam BY_TAPS      = SIMD == 1 && PIXELS == 1;

    generate
        if (SIMD > TAPS) begin : gen_bad_simd
            error_SIMD_must_be_at_most_the_taps_of_a_window error();
        end
        if (PE > OUT_CHANNELS) begin : gen_bad_pe
            error_PE_must_be_at_most_the_output_channels error();
        end
        if (OUT_PIXELS > 1 && OUT_CHANNELS % PE != 0) begin : gen_bad_pixels
            error_PE_must_divide_the_output_channels_where_OUT_PIXELS_is_over_1 error();
        end
    endgenerate

    // The channels that are read together: whole beats that divide a pixel and hold those of whole
    // groups; all of them if there is no such number.
    function integer word_of;
        input integer unused;
        integer       lanes;
        begin
            word_of = CHANNELS;
            for (lanes = CHANNELS - CHANNELS % LANES; lanes > 0; lanes = lanes - LANES)
                if (CHANNELS % lanes == 0 && lanes*MULTIPLIER % PE == 0)
                    word_of = lanes;
        end
    endfunction

    localparam WORD = BY_TAPS ? word_of(0) : CHANNELS;

    wire [8*SIMD*VECTORS-1:0] operands;
    wire                      operands_last, operands_valid, ready, window_done, unused_done;
    wire [GROUP_WIDTH-1:0]    group;
    wire [CHUNK_WIDTH-1:0]    chunk;

    // By output pixel and input channel, the tap or taps of the chunk.
    wire [8*SIMD*OUT_PIXELS*WORD-1:0] taps;

    genvar pixel, channel, tap, number, pe;
    generate
        if (BY_TAPS) begin : gen_by_taps
            wire unused = &{1'b0, chunk, window_done};

            pixel_reader #(
                .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .WORD(WORD),
                .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
                .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM),
                .PAD_RIGHT(PAD_RIGHT), .DILATION_H(DILATION_H), .DILATION_W(DILATION_W),
                .PAD_CODE(PAD_CODE), .LANES(LANES), .REPEATS(GROUPS*WORD/CHANNELS)
            ) pixels (
                .clk(clk), .rst(rst),
                .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
                .s_axis_tready(s_axis_tready),
                .m_pixel(taps), .m_pixel_last(operands_last), .m_pixel_valid(operands_valid),
                .m_pixel_ready(ready)
            );
        end else begin : gen_windows
            wire [8*OUT_PIXELS*TAPS*CHANNELS-1:0] window;

            // A window stays until its last chunk has been taken by the last group.
            sliding_window #(
                .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
                .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
                .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM),
                .PAD_RIGHT(PAD_RIGHT), .DILATION_H(DILATION_H), .DILATION_W(DILATION_W),
                .PAD_CODE(PAD_CODE),
                .LANES(LANES), .PIXELS(PIXELS), .PACE(GROUPS*CHUNKS), .LATE(1)
            ) windows (
                .clk(clk), .rst(rst),
                .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
                .s_axis_tready(s_axis_tready),
                .m_window(window), .m_window_last(operands_last), .m_window_valid(operands_valid),
                .m_window_ready(ready && window_done)
            );

            for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
                for (channel = 0; channel < CHANNELS; channel = channel + 1) begin : gen_channel
                    wire [8*PADDED-1:0] own;
                    for (tap = 0; tap < PADDED; tap = tap + 1) begin : gen_tap
                        if (tap < TAPS) begin : gen_inside
                            assign own[8*tap +: 8] =
                                window[8*((pixel*TAPS + tap)*CHANNELS + channel) +: 8];
                        end else begin : gen_pad
                            assign own[8*tap +: 8] = 8'd0;
                        end
                    end
                    assign taps[8*SIMD*(pixel*CHANNELS + channel) +: 8*SIMD] =
                        own[8*SIMD*chunk +: 8*SIMD];
                end
            end
        end
    endgenerate

    // What each group multiplies. Where a word holds the channels of few groups, most are alike.
    // Lanes beyond the last channel take anything: their weights are zero.
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_operands
            for (pe = 0; pe < PE; pe = pe + 1) begin : gen_pe
                wire [8*SIMD*GROUPS-1:0] of_group;
                for (number = 0; number < GROUPS; number = number + 1) begin : gen_group
                    localparam CHANNEL = (number*PE + pe) / MULTIPLIER;
                    assign of_group[8*SIMD*number +: 8*SIMD] =
                        taps[8*SIMD*(pixel*WORD + CHANNEL % WORD) +: 8*SIMD];
                end
                assign operands[8*SIMD*(pixel*PE + pe) +: 8*SIMD] =
                    of_group[8*SIMD*group +: 8*SIMD];
            end
        end
    endgenerate

    matrix_vector #(
        .PIXELS(OUT_PIXELS), .PE(PE), .SIMD(SIMD), .FABRIC(FABRIC), .GROUPS(GROUPS),
        .CHUNKS(CHUNKS), .VECTORS(VECTORS),
        .GROUP_INNER(0), .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT),
        .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH), .SCALE_EXACT(SCALE_EXACT),
        .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE), .OUT_WIDTH(OUT_WIDTH),
        .FIFO_DEPTH(FIFO_DEPTH), .WEIGHT_FILE(WEIGHT_FILE), .BIAS_FILE(BIAS_FILE)
    ) compute (
        .clk(clk), .rst(rst),
        .s_axis_tdata(operands), .s_axis_tlast(operands_last), .s_axis_tvalid(operands_valid),
        .s_axis_tready(ready),
        .s_group(group), .s_chunk(chunk), .s_chunk_done(unused_done), .s_vector_done(window_done),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .signature(signature)
    );

endmodule

`default_nettype wire
