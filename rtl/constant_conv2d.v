// SPDX-License-Identifier: Apache-2.0
//
// The same as `conv2d` where all output channels and all taps are computed at once, so that the
// weights never change: a module beside this one, which export makes of them, adds the products up.
//
//   sums[oc] = sum over taps of w[oc][tap] * window[tap], exact, LATENCY clocks after window
//
// for each of OUT_PIXELS windows: see model/hardware/sums.py. WEIGHT_FILE only feeds the signature.
// Cycles an image: positions / OUT_PIXELS, or one an input beat where those are more.
// Latency: LATENCY + 3 clocks from a window's handshake to its result; with scales 3 more.
// Equals model.network.layers.conv.conv2d followed by model.network.reference.requantise.

`default_nettype none

module constant_conv2d #(
    parameter HEIGHT       = 28,
    parameter WIDTH        = 28,
    parameter IN_CHANNELS  = 1,
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
    parameter PE           = 3,            // output channels
    parameter LATENCY      = 1,            // clocks from window to sums, at least 1
    parameter ACC_WIDTH    = 32,           // bits that hold every accumulator
    parameter SHIFT        = 0,            // requantising shift
    parameter ZERO_POINT   = 0,            // see clamp_code
    parameter LOW          = 0,            // least code
    parameter HIGH         = 255,          // greatest code
    parameter SCALE_WIDTH  = 0,            // bits of a scale, see row_results; 0: shift alone
    parameter SCALE_EXACT  = 0,            // see scale_round
    parameter ONE_SCALE    = 0,            // all channels have the same scale
    parameter OUT_WIDTH    = 8,            // 8: uint8, 32: logits
    parameter FIFO_DEPTH   = 16,           // output beats taken up, see row_stream
    parameter WEIGHT_FILE  = "",           // the word of all weights, as in hardware/rom.py
    parameter BIAS_FILE    = "",           // the word of all biases of 32 bits
    parameter SCALE_FILE   = "",           // the word of all scales
    parameter OUT_PIXELS   = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1,
    parameter TAPS         = KERNEL_H * KERNEL_W * IN_CHANNELS
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire [8*PIXELS*LANES-1:0]          s_axis_tdata,
    input  wire                               s_axis_tvalid,
    output wire                               s_axis_tready,
    output wire [8*OUT_PIXELS*TAPS-1:0]       window,        // pixel p, tap t at byte p*TAPS + t
    input  wire [ACC_WIDTH*OUT_PIXELS*PE-1:0] sums,          // pixel p, channel oc at p*PE + oc
    output wire [OUT_WIDTH*OUT_PIXELS*PE-1:0] m_axis_tdata,  // in the same order
    output wire                               m_axis_tlast,
    output wire                               m_axis_tvalid,
    input  wire                               m_axis_tready,
    output wire [31:0]                        signature      // {bias, weight}, see rom_signature
);

    localparam SCALED     = OUT_WIDTH == 8 && SCALE_WIDTH != 0;
    localparam SCALE_BITS = SCALED ? SCALE_WIDTH * ((ONE_SCALE != 0) ? 1 : PE) : 0;
    localparam WORD_WIDTH = SCALED ? SCALE_BITS : 1;

    wire window_last, window_valid, ready;
    wire accept = window_valid && ready;

    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(IN_CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .PIXELS(PIXELS), .LATE(1)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(window), .m_window_last(window_last), .m_window_valid(window_valid),
        .m_window_ready(ready)
    );

    // Bit 0 of these stands beside the window, bit LATENCY beside its sums, the last one beside the
    // accumulators.
    reg [LATENCY+1:0] valid_reg = 0;
    reg [LATENCY+1:0] last_reg;

    always @(posedge clk) begin
        valid_reg <= {valid_reg[LATENCY:0], accept};
        last_reg  <= {last_reg[LATENCY:0], window_last};
        if (rst)
            valid_reg <= 0;
    end

    wire [32*PE-1:0]                   biases;
    wire [ACC_WIDTH*OUT_PIXELS*PE-1:0] accs;

    weight_rom #(
        .WIDTH(32*PE), .DEPTH(1), .FILE(BIAS_FILE)
    ) bias_memory (
        .clk(clk), .addr(1'b0), .data(biases)
    );

    genvar lane;
    generate
        for (lane = 0; lane < OUT_PIXELS*PE; lane = lane + 1) begin : gen_lane
            // A bias fits into the accumulator; the rest of its word is the sign.
            wire [31:0]          bias = biases[32*(lane % PE) +: 32];
            wire                 unused = &{1'b0, bias};
            reg  [ACC_WIDTH-1:0] acc_reg;
            always @(posedge clk)
                acc_reg <= bias[ACC_WIDTH-1:0] + sums[ACC_WIDTH*lane +: ACC_WIDTH];
            assign accs[ACC_WIDTH*lane +: ACC_WIDTH] = acc_reg;
        end
    endgenerate

    wire [WORD_WIDTH-1:0] scales;

    row_stream #(
        .PIXELS(OUT_PIXELS), .PE(PE), .ACC_WIDTH(ACC_WIDTH),
        .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH),
        .SCALE_EXACT(SCALE_EXACT), .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE),
        .WORD_WIDTH(WORD_WIDTH), .OUT_WIDTH(OUT_WIDTH), .FIFO_DEPTH(FIFO_DEPTH)
    ) row_stream (
        .clk(clk), .rst(rst), .spend(accept), .ready(ready), .next_group(1'b0),
        .s_accs(accs), .s_last(last_reg[LATENCY+1]), .s_valid(valid_reg[LATENCY+1]),
        .word(scales),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

    wire [8*TAPS*PE-1:0]        weights;
    wire [WORD_WIDTH+32*PE-1:0] both = {scales, biases};
    wire                        unused_scales = &{1'b0, both[WORD_WIDTH+32*PE-1]};

    weight_rom #(
        .WIDTH(8*TAPS*PE), .DEPTH(1), .FILE(WEIGHT_FILE)
    ) weight_memory (
        .clk(clk), .addr(1'b0), .data(weights)
    );

    rom_signature #(
        .WIDTH(8*TAPS*PE), .DEPTH(1)
    ) weight_signature (
        .clk(clk), .rst(rst), .word(weights), .valid(valid_reg[LATENCY+1]),
        .signature(signature[15:0])
    );

    rom_signature #(
        .WIDTH(32*PE+SCALE_BITS), .DEPTH(1)
    ) bias_signature (
        .clk(clk), .rst(rst), .word(both[32*PE+SCALE_BITS-1:0]),
        .valid(valid_reg[LATENCY+1]), .signature(signature[31:16])
    );

endmodule

`default_nettype wire
