// SPDX-License-Identifier: Apache-2.0
//
// simplecnn: from 1x28x28 images to logits and a class.
// A new image every 784 cycles with 3430 multipliers; latency 1913 cycles.
//
// Written by model/export.py from network.onnx: change the folding there, not here.
//
//   layer  input     output    window or order     PE  SIMD  multipliers  cycles
//   conv1  1x28x28   32x14x14  3x3 stride 2 pad 1   8     9           72     784
//   conv2  32x14x14  64x7x7    3x3 stride 2 pad 1   4   288         1152     784
//   conv3  64x7x7    128x4x4   3x3 stride 2 pad 1   8   192         1536     768
//   fc1    128x4x4   250x1x1   input-major          9    74          666     784
//   fc2    250x1x1   10x1x1    output-major         4     1            4     750
//
// In:  1 pixel of 1 channel a beat, in raster order over 28 rows of 28; tlast on an image's last
//      beat. An image that ends early or late is dropped whole, and frame_error pulses once for it.
// Out: 4 logits a beat, int32, the first in the lowest bits; tlast on the last beat, where tuser is
//      the class: the index of the largest logit, the lowest of equals.
//      signature: hashes of the weights and biases, 32 bits a layer that has some, the first
//      layer's lowest; final after the first image. See rom_signature.
// Equals model.network.reference.predict. The .mem files are looked up in the working directory.

`default_nettype none

module simplecnn (
    input  wire         clk,
    input  wire         rst,
    input  wire [7:0]   s_axis_tdata,
    input  wire         s_axis_tvalid,
    output wire         s_axis_tready,
    input  wire         s_axis_tlast,
    output wire [127:0] m_axis_tdata,
    output wire [15:0]  m_axis_tuser,
    output wire         m_axis_tvalid,
    input  wire         m_axis_tready,
    output wire         m_axis_tlast,
    output wire         frame_error,
    output wire [159:0] signature
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

    // conv1: 1x28x28 -> 32x14x14, 3x3 stride 2 pad 1
    localparam CONV1_PE         = 8;
    localparam CONV1_SIMD       = 9;
    localparam CONV1_ACC_WIDTH  = 18;
    localparam CONV1_SHIFT      = 7;
    localparam CONV1_FIFO_DEPTH = 11;

    wire [8*CONV1_PE-1:0] conv1_tdata;
    wire                  conv1_tvalid;
    wire                  conv1_tready;
    wire                  unused_conv1_tlast;

    conv2d #(
        .HEIGHT       (HEIGHT),
        .WIDTH        (WIDTH),
        .IN_CHANNELS  (CHANNELS),
        .OUT_CHANNELS (32),
        .KERNEL       (3),
        .STRIDE       (2),
        .PADDING      (1),
        .LANES        (CHANNELS),
        .PE           (CONV1_PE),
        .SIMD         (CONV1_SIMD),
        .ACC_WIDTH    (CONV1_ACC_WIDTH),
        .SHIFT        (CONV1_SHIFT),
        .FIFO_DEPTH   (CONV1_FIFO_DEPTH),
        .WEIGHT_FILE  ("simplecnn_conv1_weight.mem"),
        .BIAS_FILE    ("simplecnn_conv1_bias.mem")
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
        .signature     (signature[31:0])
    );

    // conv2: 32x14x14 -> 64x7x7, 3x3 stride 2 pad 1
    localparam CONV2_PE         = 4;
    localparam CONV2_SIMD       = 288;
    localparam CONV2_ACC_WIDTH  = 22;
    localparam CONV2_SHIFT      = 9;
    localparam CONV2_FIFO_DEPTH = 16;

    wire [8*CONV2_PE-1:0] conv2_tdata;
    wire                  conv2_tvalid;
    wire                  conv2_tready;
    wire                  unused_conv2_tlast;

    conv2d #(
        .HEIGHT       (14),
        .WIDTH        (14),
        .IN_CHANNELS  (32),
        .OUT_CHANNELS (64),
        .KERNEL       (3),
        .STRIDE       (2),
        .PADDING      (1),
        .LANES        (CONV1_PE),
        .PE           (CONV2_PE),
        .SIMD         (CONV2_SIMD),
        .ACC_WIDTH    (CONV2_ACC_WIDTH),
        .SHIFT        (CONV2_SHIFT),
        .FIFO_DEPTH   (CONV2_FIFO_DEPTH),
        .WEIGHT_FILE  ("simplecnn_conv2_weight.mem"),
        .BIAS_FILE    ("simplecnn_conv2_bias.mem")
    ) conv2 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv1_tdata),
        .s_axis_tvalid (conv1_tvalid),
        .s_axis_tready (conv1_tready),
        .m_axis_tdata  (conv2_tdata),
        .m_axis_tvalid (conv2_tvalid),
        .m_axis_tready (conv2_tready),
        .m_axis_tlast  (unused_conv2_tlast),
        .signature     (signature[63:32])
    );

    // conv3: 64x7x7 -> 128x4x4, 3x3 stride 2 pad 1
    localparam CONV3_PE         = 8;
    localparam CONV3_SIMD       = 192;
    localparam CONV3_ACC_WIDTH  = 23;
    localparam CONV3_SHIFT      = 8;
    localparam CONV3_FIFO_DEPTH = 6;

    wire [8*CONV3_PE-1:0] conv3_tdata;
    wire                  conv3_tvalid;
    wire                  conv3_tready;
    wire                  unused_conv3_tlast;

    conv2d #(
        .HEIGHT       (7),
        .WIDTH        (7),
        .IN_CHANNELS  (64),
        .OUT_CHANNELS (128),
        .KERNEL       (3),
        .STRIDE       (2),
        .PADDING      (1),
        .LANES        (CONV2_PE),
        .PE           (CONV3_PE),
        .SIMD         (CONV3_SIMD),
        .ACC_WIDTH    (CONV3_ACC_WIDTH),
        .SHIFT        (CONV3_SHIFT),
        .FIFO_DEPTH   (CONV3_FIFO_DEPTH),
        .WEIGHT_FILE  ("simplecnn_conv3_weight.mem"),
        .BIAS_FILE    ("simplecnn_conv3_bias.mem")
    ) conv3 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv2_tdata),
        .s_axis_tvalid (conv2_tvalid),
        .s_axis_tready (conv2_tready),
        .m_axis_tdata  (conv3_tdata),
        .m_axis_tvalid (conv3_tvalid),
        .m_axis_tready (conv3_tready),
        .m_axis_tlast  (unused_conv3_tlast),
        .signature     (signature[95:64])
    );

    // fc1: 128x4x4 -> 250x1x1, input-major
    localparam FC1_PE         = 9;
    localparam FC1_SIMD       = 74;
    localparam FC1_ACC_WIDTH  = 25;
    localparam FC1_SHIFT      = 10;
    localparam FC1_FIFO_DEPTH = 27;

    wire [8*FC1_PE-1:0] fc1_tdata;
    wire                fc1_tvalid;
    wire                fc1_tready;
    wire                unused_fc1_tlast;

    fc #(
        .POSITIONS    (16),
        .CHANNELS     (128),
        .LANES        (CONV3_PE),
        .OUT_FEATURES (250),
        .PE           (FC1_PE),
        .SIMD         (FC1_SIMD),
        .INPUT_MAJOR  (1),
        .ACC_WIDTH    (FC1_ACC_WIDTH),
        .SHIFT        (FC1_SHIFT),
        .FIFO_DEPTH   (FC1_FIFO_DEPTH),
        .WEIGHT_FILE  ("simplecnn_fc1_weight.mem"),
        .BIAS_FILE    ("simplecnn_fc1_bias.mem")
    ) fc1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv3_tdata),
        .s_axis_tvalid (conv3_tvalid),
        .s_axis_tready (conv3_tready),
        .m_axis_tdata  (fc1_tdata),
        .m_axis_tvalid (fc1_tvalid),
        .m_axis_tready (fc1_tready),
        .m_axis_tlast  (unused_fc1_tlast),
        .signature     (signature[127:96])
    );

    // fc2: 250x1x1 -> 10x1x1, output-major
    localparam FC2_PE         = 4;
    localparam FC2_SIMD       = 1;
    localparam FC2_ACC_WIDTH  = 22;
    localparam FC2_FIFO_DEPTH = 2;

    wire [32*FC2_PE-1:0] fc2_tdata;
    wire                 fc2_tvalid;
    wire                 fc2_tready;
    wire                 fc2_tlast;

    fc #(
        .POSITIONS    (1),
        .CHANNELS     (250),
        .LANES        (FC1_PE),
        .OUT_FEATURES (10),
        .PE           (FC2_PE),
        .SIMD         (FC2_SIMD),
        .ACC_WIDTH    (FC2_ACC_WIDTH),
        .OUT_WIDTH    (32),
        .FIFO_DEPTH   (FC2_FIFO_DEPTH),
        .WEIGHT_FILE  ("simplecnn_fc2_weight.mem"),
        .BIAS_FILE    ("simplecnn_fc2_bias.mem")
    ) fc2 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (fc1_tdata),
        .s_axis_tvalid (fc1_tvalid),
        .s_axis_tready (fc1_tready),
        .m_axis_tdata  (fc2_tdata),
        .m_axis_tvalid (fc2_tvalid),
        .m_axis_tready (fc2_tready),
        .m_axis_tlast  (fc2_tlast),
        .signature     (signature[159:128])
    );

    // The class comes with the last logit; images of a wrong length are dropped.
    localparam CLASSES     = 10;
    localparam LOGIT_LANES = 4;

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
        .s_axis_tdata  (fc2_tdata),
        .s_axis_tvalid (fc2_tvalid),
        .s_axis_tready (fc2_tready),
        .s_axis_tlast  (fc2_tlast),
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
