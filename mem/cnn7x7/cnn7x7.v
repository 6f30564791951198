// SPDX-License-Identifier: Apache-2.0
//
// cnn7x7: from 1x28x28 images to logits and a class.
// A new image every 784 cycles with 152 multipliers; latency 959 cycles.
//
// Written by model/export.py from network.onnx: change the folding there, not here.
//
//   layer  input    output   window or order  PE  SIMD  multipliers  cycles
//   conv1  1x28x28  3x22x22  7x7               3    49          147     484
//   pool1  3x22x22  3x11x11  2x2 stride 2                               121
//   fc     3x11x11  10x1x1   input-major       5     1            5     726
//
// In:  1 pixel of 1 channel a beat, in raster order over 28 rows of 28; tlast on an image's last
//      beat. An image that ends early or late is dropped whole, and frame_error pulses once for it.
// Out: 5 logits a beat, int32, the first in the lowest bits; tlast on the last beat, where tuser is
//      the class: the index of the largest logit, the lowest of equals.
//      signature: hashes of the weights and biases, 32 bits a layer that has some, the first
//      layer's lowest; final after the first image. See rom_signature.
// Equals model.network.reference.predict. The .mem files are looked up in the working directory.

`default_nettype none

module cnn7x7 (
    input  wire         clk,
    input  wire         rst,
    input  wire [7:0]   s_axis_tdata,
    input  wire         s_axis_tvalid,
    output wire         s_axis_tready,
    input  wire         s_axis_tlast,
    output wire [159:0] m_axis_tdata,
    output wire [15:0]  m_axis_tuser,
    output wire         m_axis_tvalid,
    input  wire         m_axis_tready,
    output wire         m_axis_tlast,
    output wire         frame_error,
    output wire [63:0]  signature
);

    localparam HEIGHT   = 28;
    localparam WIDTH    = 28;
    localparam CHANNELS = 1;
    localparam PIXELS   = 1;

    // The layers count their beats themselves: no tlast goes into them.
    wire [8*PIXELS*CHANNELS-1:0] frame_tdata;
    wire                         frame_tvalid;
    wire                         frame_tready;
    wire                         unused_frame_tlast;

    // Each image has a flag, 1 where its length was wrong, which waits for its logits.
    wire flag_tdata;
    wire flag_tvalid;
    wire flag_tready;

    frame_check #(
        .BEATS (HEIGHT*WIDTH/PIXELS),
        .WIDTH (8*PIXELS*CHANNELS)
    ) check (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (s_axis_tdata),
        .s_axis_tvalid (s_axis_tvalid),
        .s_axis_tready (s_axis_tready),
        .s_axis_tlast  (s_axis_tlast),
        .m_axis_tdata  (frame_tdata),
        .m_axis_tvalid (frame_tvalid),
        .m_axis_tready (frame_tready),
        .m_axis_tlast  (unused_frame_tlast),
        .m_flag_tdata  (flag_tdata),
        .m_flag_tvalid (flag_tvalid),
        .m_flag_tready (flag_tready),
        .frame_error   (frame_error)
    );

    wire flag_fifo_tdata;
    wire flag_fifo_tvalid;
    wire flag_fifo_tready;
    wire unused_flag_fifo_tlast;

    axis_fifo #(
        .WIDTH (1),
        .DEPTH (16)
    ) flag_fifo (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (flag_tdata),
        .s_axis_tvalid (flag_tvalid),
        .s_axis_tready (flag_tready),
        .s_axis_tlast  (1'b1),
        .m_axis_tdata  (flag_fifo_tdata),
        .m_axis_tvalid (flag_fifo_tvalid),
        .m_axis_tready (flag_fifo_tready),
        .m_axis_tlast  (unused_flag_fifo_tlast)
    );

    // conv1: 1x28x28 -> 3x22x22, 7x7
    localparam CONV1_PE         = 3;
    localparam CONV1_ACC_WIDTH  = 20;
    localparam CONV1_SHIFT      = 8;
    localparam CONV1_FIFO_DEPTH = 6;

    wire [8*CONV1_PE-1:0] conv1_tdata;
    wire                  conv1_tvalid;
    wire                  conv1_tready;
    wire                  unused_conv1_tlast;

    wire [392-1:0] conv1_window;
    wire [CONV1_ACC_WIDTH*CONV1_PE-1:0] conv1_sums;

    cnn7x7_conv1_sums conv1_adders (
        .clk (clk),
        .x   (conv1_window),
        .sum (conv1_sums)
    );

    constant_conv2d #(
        .HEIGHT      (HEIGHT),
        .WIDTH       (WIDTH),
        .IN_CHANNELS (CHANNELS),
        .KERNEL      (7),
        .LANES       (CHANNELS),
        .PE          (CONV1_PE),
        .LATENCY     (3),
        .ACC_WIDTH   (CONV1_ACC_WIDTH),
        .SHIFT       (CONV1_SHIFT),
        .FIFO_DEPTH  (CONV1_FIFO_DEPTH),
        .WEIGHT_FILE ("cnn7x7_conv1_weight.mem"),
        .BIAS_FILE   ("cnn7x7_conv1_bias.mem")
    ) conv1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (frame_tdata),
        .s_axis_tvalid (frame_tvalid),
        .s_axis_tready (frame_tready),
        .m_axis_tdata  (conv1_tdata),
        .m_axis_tvalid (conv1_tvalid),
        .m_axis_tready (conv1_tready),
        .m_axis_tlast  (unused_conv1_tlast),
        .window        (conv1_window),
        .sums          (conv1_sums),
        .signature     (signature[31:0])
    );

    // pool1: 3x22x22 -> 3x11x11, 2x2 stride 2
    localparam POOL1_FIFO_DEPTH = 2;

    wire [8*CONV1_PE-1:0] pool1_tdata;
    wire                  pool1_tvalid;
    wire                  pool1_tready;
    wire                  unused_pool1_tlast;

    maxpool2d #(
        .HEIGHT     (22),
        .WIDTH      (22),
        .CHANNELS   (3),
        .KERNEL     (2),
        .LANES      (CONV1_PE),
        .STRIDE     (2),
        .PACE       (3),
        .FIFO_DEPTH (POOL1_FIFO_DEPTH)
    ) pool1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv1_tdata),
        .s_axis_tvalid (conv1_tvalid),
        .s_axis_tready (conv1_tready),
        .m_axis_tdata  (pool1_tdata),
        .m_axis_tvalid (pool1_tvalid),
        .m_axis_tready (pool1_tready),
        .m_axis_tlast  (unused_pool1_tlast)
    );

    // fc: 3x11x11 -> 10x1x1, input-major
    localparam FC_PE         = 5;
    localparam FC_SIMD       = 1;
    localparam FC_ACC_WIDTH  = 22;
    localparam FC_FIFO_DEPTH = 2;

    wire [32*FC_PE-1:0] fc_tdata;
    wire                fc_tvalid;
    wire                fc_tready;
    wire                fc_tlast;

    fc #(
        .POSITIONS    (121),
        .CHANNELS     (3),
        .LANES        (CONV1_PE),
        .OUT_FEATURES (10),
        .PE           (FC_PE),
        .SIMD         (FC_SIMD),
        .INPUT_MAJOR  (1),
        .ACC_WIDTH    (FC_ACC_WIDTH),
        .OUT_WIDTH    (32),
        .FIFO_DEPTH   (FC_FIFO_DEPTH),
        .WEIGHT_FILE  ("cnn7x7_fc_weight.mem"),
        .BIAS_FILE    ("cnn7x7_fc_bias.mem")
    ) fc (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (pool1_tdata),
        .s_axis_tvalid (pool1_tvalid),
        .s_axis_tready (pool1_tready),
        .m_axis_tdata  (fc_tdata),
        .m_axis_tvalid (fc_tvalid),
        .m_axis_tready (fc_tready),
        .m_axis_tlast  (fc_tlast),
        .signature     (signature[63:32])
    );

    // The class comes with the last logit; images of a wrong length are dropped.
    localparam CLASSES     = 10;
    localparam LOGIT_LANES = 5;

    wire [32*LOGIT_LANES-1:0] class_tdata;
    wire                      class_tvalid;
    wire                      class_tready;
    wire                      class_tlast;
    wire [15:0]               class_tuser;

    argmax #(
        .CLASSES (CLASSES),
        .LANES   (LOGIT_LANES),
        .WIDTH   (32)
    ) classify (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (fc_tdata),
        .s_axis_tvalid (fc_tvalid),
        .s_axis_tready (fc_tready),
        .s_axis_tlast  (fc_tlast),
        .m_axis_tdata  (class_tdata),
        .m_axis_tvalid (class_tvalid),
        .m_axis_tready (class_tready),
        .m_axis_tlast  (class_tlast),
        .m_axis_tuser  (class_tuser)
    );

    frame_drop #(
        .WIDTH (16 + 32*LOGIT_LANES)
    ) drop (
        .s_axis_tdata  ({class_tuser, class_tdata}),
        .s_axis_tvalid (class_tvalid),
        .s_axis_tready (class_tready),
        .s_axis_tlast  (class_tlast),
        .s_flag_tdata  (flag_fifo_tdata),
        .s_flag_tvalid (flag_fifo_tvalid),
        .s_flag_tready (flag_fifo_tready),
        .m_axis_tdata  ({m_axis_tuser, m_axis_tdata}),
        .m_axis_tvalid (m_axis_tvalid),
        .m_axis_tready (m_axis_tready),
        .m_axis_tlast  (m_axis_tlast)
    );

endmodule

`default_nettype wire
