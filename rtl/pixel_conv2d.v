// SPDX-License-Identifier: Apache-2.0
//
// The same as `conv2d` where SIMD is IN_CHANNELS and a beat holds one pixel: it reads its windows
// pixel by pixel, and so has no registers for them.
//
// Streams are in raster order, channel fastest, LANES channels a beat in and PE a beat out.
// Cycles an image: positions * ceil(OUT_CHANNELS / PE) * taps, or one an input beat where those are
// more.
// Equals model.network.layers.conv.conv2d followed by model.network.reference.requantise.

`default_nettype none

module pixel_conv2d #(
    parameter HEIGHT       = 28,
    parameter WIDTH        = 28,
    parameter IN_CHANNELS  = 1,
    parameter OUT_CHANNELS = 3,
    parameter KERNEL       = 3,            // the window, see sliding_window
    parameter KERNEL_H     = KERNEL,
    parameter KERNEL_W     = KERNEL,
    parameter STRIDE       = 1,
    parameter STRIDE_H     = STRIDE,
    parameter STRIDE_W     = STRIDE,
    parameter PADDING      = 0,
    parameter PAD_TOP      = PADDING,
    parameter PAD_LEFT     = PADDING,
    parameter PAD_BOTTOM   = PADDING,
    parameter PAD_RIGHT    = PADDING,
    parameter DILATION_H   = 1,
    parameter DILATION_W   = 1,
    parameter PAD_CODE     = 0,            // the code of zero
    parameter LANES        = IN_CHANNELS,  // input channels a beat
    parameter PE           = 1,            // output channels at once
    parameter ACC_WIDTH    = 32,           // bits that hold every accumulator
    parameter SHIFT        = 0,            // requantising shift
    parameter ZERO_POINT   = 0,            // see clamp_code
    parameter LOW          = 0,            // least code
    parameter HIGH         = 255,          // greatest code
    parameter SCALE_WIDTH  = 0,            // bits of a scale, see matrix_vector; 0: shift alone
    parameter SCALE_EXACT  = 0,            // see scale_round
    parameter ONE_SCALE    = 0,            // all channels have the same scale
    parameter OUT_WIDTH    = 8,            // 8: uint8, 32: logits
    parameter FABRIC       = 0,            // of IN_CHANNELS products, those in plain logic
    parameter FIFO_DEPTH   = 16,           // output beats taken up, see matrix_vector
    parameter WEIGHT_FILE  = "",           // words of PE*IN_CHANNELS weights, likewise
    parameter BIAS_FILE    = "",           // words of PE biases of 32 bits
    parameter SCALE_FILE   = ""            // words of PE scales
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire [8*LANES-1:0]      s_axis_tdata,
    input  wire                    s_axis_tvalid,
    output wire                    s_axis_tready,
    output wire [OUT_WIDTH*PE-1:0] m_axis_tdata,
    output wire                    m_axis_tlast,
    output wire                    m_axis_tvalid,
    input  wire                    m_axis_tready,
    output wire [31:0]             signature  // {bias, weight}, see rom_signature
);

    localparam GROUPS      = (OUT_CHANNELS + PE - 1) / PE;
    localparam CHUNKS      = KERNEL_H * KERNEL_W;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;

    generate
        if (PE > OUT_CHANNELS) begin : gen_bad_pe
            error_PE_must_be_at_most_OUT_CHANNELS error();
        end
    endgenerate

    wire [8*IN_CHANNELS-1:0] pixel;
    wire                     pixel_last, pixel_valid, pixel_ready, unused_chunk_done, unused_done;
    wire [GROUP_WIDTH-1:0]   unused_group;
    wire [CHUNK_WIDTH-1:0]   unused_chunk;

    pixel_reader #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(IN_CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .REPEATS(GROUPS)
    ) pixels (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_pixel(pixel), .m_pixel_last(pixel_last), .m_pixel_valid(pixel_valid),
        .m_pixel_ready(pixel_ready)
    );

    matrix_vector #(
        .PE(PE), .SIMD(IN_CHANNELS), .FABRIC(FABRIC), .GROUPS(GROUPS), .CHUNKS(CHUNKS),
        .GROUP_INNER(0), .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT),
        .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH), .SCALE_EXACT(SCALE_EXACT),
        .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE), .OUT_WIDTH(OUT_WIDTH),
        .FIFO_DEPTH(FIFO_DEPTH), .WEIGHT_FILE(WEIGHT_FILE), .BIAS_FILE(BIAS_FILE)
    ) compute (
        .clk(clk), .rst(rst),
        .s_axis_tdata(pixel), .s_axis_tlast(pixel_last), .s_axis_tvalid(pixel_valid),
        .s_axis_tready(pixel_ready),
        .s_group(unused_group), .s_chunk(unused_chunk), .s_chunk_done(unused_chunk_done),
        .s_vector_done(unused_done),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .signature(signature)
    );

endmodule

`default_nettype wire
