// SPDX-License-Identifier: Apache-2.0
//
// Convolution with bias, requantised (and so ReLU'd) to uint8, or as raw int32 logits.
//
//   y[oc] = requantise(bias[oc] + sum over ic, ky, kx of w[oc][ic][ky][kx] * x[ic][ky][kx])
//
// with x the window of the padded input at the output's position.
//
// PE output channels and SIMD products of each are computed at once, for OUT_PIXELS adjacent output
// pixels; none of them need divide the layer's sizes. Streams are in raster order, channel fastest,
// LANES channels a beat in and PE a beat out.
// Cycles an image: positions / OUT_PIXELS * ceil(OUT_CHANNELS / PE) * CHUNKS, or one an input beat
// where those are more; CHUNKS = ceil(KERNEL_H * KERNEL_W * IN_CHANNELS / SIMD).
// Equals model.network.layers.conv.conv2d followed by model.network.reference.requantise.

`default_nettype none

module conv2d #(
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
    parameter PIXELS       = 1,            // input pixels a beat, see sliding_window
    parameter PE           = 1,            // output channels at once
    parameter SIMD         = 1,            // products at once, of the taps*IN_CHANNELS of a window
    parameter ACC_WIDTH    = 32,           // bits that hold every accumulator
    parameter SHIFT        = 0,            // requantising shift
    parameter ZERO_POINT   = 0,            // see clamp_code
    parameter LOW          = 0,            // least code
    parameter HIGH         = 255,          // greatest code
    parameter SCALE_WIDTH  = 0,            // bits of a scale, see matrix_vector; 0: shift alone
    parameter SCALE_EXACT  = 0,            // see scale_round
    parameter ONE_SCALE    = 0,            // all channels have the same scale
    parameter OUT_WIDTH    = 8,            // 8: uint8, 32: logits
    parameter FABRIC       = 0,            // of SIMD products, those in plain logic
    parameter FIFO_DEPTH   = 16,           // output beats taken up, see matrix_vector
    parameter WEIGHT_FILE  = "",           // words of PE*SIMD weights, as in hardware/rom.py
    parameter BIAS_FILE    = "",           // words of PE biases of 32 bits
    parameter SCALE_FILE   = "",           // words of PE scales
    parameter OUT_PIXELS   = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1
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

    localparam TAPS        = KERNEL_H * KERNEL_W * IN_CHANNELS;
    localparam GROUPS      = (OUT_CHANNELS + PE - 1) / PE;
    localparam CHUNKS      = (TAPS + SIMD - 1) / SIMD;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;
    localparam PADDED      = CHUNKS * SIMD;

    generate
        if (SIMD > TAPS) begin : gen_bad_simd
            error_SIMD_must_be_at_most_the_taps_of_a_window error();
        end
        if (PE > OUT_CHANNELS) begin : gen_bad_pe
            error_PE_must_be_at_most_OUT_CHANNELS error();
        end
        if (OUT_PIXELS > 1 && OUT_CHANNELS % PE != 0) begin : gen_bad_pixels
            error_PE_must_divide_OUT_CHANNELS_where_OUT_PIXELS_is_over_1 error();
        end
    endgenerate

    wire [8*OUT_PIXELS*TAPS-1:0] window;
    wire [8*OUT_PIXELS*SIMD-1:0] operands;
    wire                         window_last, window_valid, window_done, ready, unused_done;
    wire [CHUNK_WIDTH-1:0]       chunk;
    wire [GROUP_WIDTH-1:0]       unused_group;

    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(IN_CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .PIXELS(PIXELS), .PACE(GROUPS*CHUNKS), .LATE(1)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(window), .m_window_last(window_last), .m_window_valid(window_valid),
        .m_window_ready(ready && window_done)
    );

    // A window stays until its last chunk has been taken by the last group.
    genvar pixel;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            if (CHUNKS > 1) begin : gen_chunk
                wire [8*PADDED-1:0] taps;
                assign taps[8*TAPS-1:0] = window[8*TAPS*pixel +: 8*TAPS];
                if (PADDED > TAPS) begin : gen_pad
                    assign taps[8*PADDED-1:8*TAPS] = {8*(PADDED-TAPS){1'b0}};
                end
                assign operands[8*SIMD*pixel +: 8*SIMD] = taps[8*SIMD*chunk +: 8*SIMD];
            end else begin : gen_whole
                wire unused = &{1'b0, chunk};
                assign operands[8*SIMD*pixel +: 8*SIMD] = window[8*TAPS*pixel +: 8*TAPS];
            end
        end
    endgenerate

    matrix_vector #(
        .PIXELS(OUT_PIXELS), .PE(PE), .SIMD(SIMD), .FABRIC(FABRIC), .GROUPS(GROUPS),
        .CHUNKS(CHUNKS),
        .GROUP_INNER(0), .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT),
        .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH), .SCALE_EXACT(SCALE_EXACT),
        .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE), .OUT_WIDTH(OUT_WIDTH),
        .FIFO_DEPTH(FIFO_DEPTH), .WEIGHT_FILE(WEIGHT_FILE), .BIAS_FILE(BIAS_FILE)
    ) compute (
        .clk(clk), .rst(rst),
        .s_axis_tdata(operands), .s_axis_tlast(window_last), .s_axis_tvalid(window_valid),
        .s_axis_tready(ready),
        .s_group(unused_group), .s_chunk(chunk), .s_chunk_done(unused_done),
        .s_vector_done(window_done),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .signature(signature)
    );

endmodule

`default_nettype wire
