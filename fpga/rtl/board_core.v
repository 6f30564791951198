// SPDX-License-Identifier: Apache-2.0
//
// A network behind a UART: all of a board but its clock, its reset and its pins. fpga/README.md
// has the protocol.
//
// An image goes into the network only when its frame was right, and whole: nothing that happens on
// the wire leaves half an image in the pipeline. A network that does not answer, or says that
// something was wrong with the image, is reset.
//
// The macro NETWORK is the name of the network's top module.

`default_nettype none

module board_core #(
    parameter IMAGE_BYTES    = 784,   // height x width x channels
    parameter BEAT_BYTES     = 1,     // bytes of a beat of the network's input
    parameter CLASSES        = 10,    // at most 8,000
    parameter LOGIT_LANES    = 1,     // logits of a beat of the network's output
    parameter LAYERS         = 1,     // with weights
    parameter IDENTITY_FILE  = "",    // path of identity.mem, as fpga/identity.py writes it
    parameter IDENTITY_BYTES = 66,    // bytes of it
    parameter BAUD_DIVISOR   = 8,     // clocks a bit, at least 8
    parameter TIMEOUT        = 65536  // clocks: longest gap in a frame, and longest wait for the
                                      // network; longer than a byte and than an image's latency
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       uart_rx,
    output wire       uart_tx,
    output wire [3:0] digit,        // class of the last image, its lowest bits
    output wire       digit_valid,
    output wire       active        // a frame is coming in, worked on or answered
);

    localparam [3:0] OK = 0;

    localparam IDENTITY_WIDTH  = $clog2(IDENTITY_BYTES + 1);
    localparam CLASS_WIDTH     = (CLASSES > 1) ? $clog2(CLASSES) : 1;
    localparam IDENTIFY_LENGTH = 1 + IDENTITY_BYTES + 4*LAYERS;  // of the longest replies
    localparam CLASSIFY_LENGTH = 7 + 4*CLASSES;
    localparam LONGEST         = (IDENTIFY_LENGTH > CLASSIFY_LENGTH) ? IDENTIFY_LENGTH
                                                                     : CLASSIFY_LENGTH;
    localparam LENGTH_WIDTH    = $clog2(LONGEST + 1);

    generate
        if (TIMEOUT <= 10 * BAUD_DIVISOR) begin : gen_bad_timeout
            error_TIMEOUT_must_be_longer_than_a_byte error();
        end
        if (CLASSES > 8000) begin : gen_bad_classes
            error_CLASSES_must_be_at_most_8000 error();
        end
    endgenerate

    // ---- The wire -------------------------------------------------------------------------------

    wire                    frame_idle, frame_valid, payload_valid, image_valid;
    wire [7:0]              data;
    wire [3:0]              frame_code;
    wire                    identify, classify, repeating, status;
    wire                    reply_start, replying, reply_taken, reply_done;
    wire [LENGTH_WIDTH-1:0] reply_length, reply_index;
    wire [7:0]              reply_byte;
    wire [3:0]              code;
    wire                    run, expired, silence_restart, watchdog_restart;

    frame_link #(
        .IMAGE_BYTES  (IMAGE_BYTES),
        .LENGTH_WIDTH (LENGTH_WIDTH),
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) link (
        .clk             (clk),
        .rst             (rst),
        .uart_rx         (uart_rx),
        .uart_tx         (uart_tx),
        .silence_restart (silence_restart),
        .silence_expired (expired && !run),
        .idle            (frame_idle),
        .data            (data),
        .payload_valid   (payload_valid),
        .image_valid     (image_valid),
        .frame_valid     (frame_valid),
        .frame_code      (frame_code),
        .identify        (identify),
        .classify        (classify),
        .repeating       (repeating),
        .status          (status),
        .answering       (reply_start || replying),
        .reply_start     (reply_start),
        .reply_error     (code != OK),
        .reply_length    (reply_length),
        .reply_index     (reply_index),
        .reply_byte      (reply_byte),
        .reply_taken     (reply_taken),
        .reply_done      (reply_done)
    );

    // One for both: while images run, the silence of the wire can wait.
    timeout #(
        .TIMEOUT (TIMEOUT)
    ) timeout (
        .clk     (clk),
        .restart (run ? watchdog_restart : silence_restart),
        .expired (expired)
    );

    // ---- The network ----------------------------------------------------------------------------

    wire                      network_rst, run_start, run_done, run_failed, blank, several;
    wire [15:0]               images;
    wire                      image_done, image_differs, misplaced, frame_error;
    wire [31:0]               cycles;
    wire [15:0]               differing;
    wire [CLASS_WIDTH-1:0]    class_index;
    wire [15:0]               class_word = {{(16 - CLASS_WIDTH){1'b0}}, class_index};
    wire [7:0]                identity_byte;
    wire [31:0]               logit;
    wire                      logit_taken;
    wire [32*LAYERS-1:0]      signature;

    wire [8*BEAT_BYTES-1:0]   pixel_tdata;
    wire                      pixel_tvalid, pixel_tready, pixel_tlast;
    wire [32*LOGIT_LANES-1:0] logit_tdata;
    wire [CLASS_WIDTH-1:0]    logit_tuser;
    wire [15-CLASS_WIDTH:0]   unused_tuser;
    wire                      logit_tvalid, logit_tlast;

    image_store #(
        .IMAGE_BYTES    (IMAGE_BYTES),
        .BEAT_BYTES     (BEAT_BYTES),
        .IDENTITY_FILE  (IDENTITY_FILE),
        .IDENTITY_BYTES (IDENTITY_BYTES)
    ) image_store (
        .clk           (clk),
        .rst           (rst),
        .rewind        (frame_idle),
        .write         (image_valid),
        .write_data    (data),
        .identity_addr (reply_index[IDENTITY_WIDTH-1:0]),
        .identity_data (identity_byte),
        .start         (run_start),
        .stop          (run_failed),
        .blank         (blank),
        .single        (!several),
        .images        (images),
        .m_axis_tdata  (pixel_tdata),
        .m_axis_tlast  (pixel_tlast),
        .m_axis_tvalid (pixel_tvalid),
        .m_axis_tready (pixel_tready)
    );

    `NETWORK network (
        .clk           (clk),
        .rst           (network_rst),
        .s_axis_tdata  (pixel_tdata),
        .s_axis_tvalid (pixel_tvalid),
        .s_axis_tready (pixel_tready),
        .s_axis_tlast  (pixel_tlast),
        .m_axis_tdata  (logit_tdata),
        .m_axis_tuser  ({unused_tuser, logit_tuser}),
        .m_axis_tvalid (logit_tvalid),
        .m_axis_tready (1'b1),
        .m_axis_tlast  (logit_tlast),
        .frame_error   (frame_error),
        .signature     (signature)
    );

    logit_store #(
        .CLASSES     (CLASSES),
        .LOGIT_LANES (LOGIT_LANES)
    ) logit_store (
        .clk           (clk),
        .run           (run),
        .compare       (several),
        .s_axis_tdata  (logit_tdata),
        .s_axis_tuser  (logit_tuser),
        .s_axis_tlast  (logit_tlast),
        .s_axis_tvalid (logit_tvalid),
        .image_done    (image_done),
        .image_differs (image_differs),
        .misplaced     (misplaced),
        .class_index   (class_index),
        .read          (replying),
        .read_next     (logit_taken),
        .read_logit    (logit)
    );

    run_control run_control (
        .clk              (clk),
        .rst              (rst),
        .start            (run_start),
        .single           (!several),
        .images           (images),
        .pixels_taken     (pixel_tvalid && pixel_tready),
        .image_done       (image_done),
        .image_differs    (image_differs),
        .fault            (misplaced || frame_error),
        .watchdog_restart (watchdog_restart),
        .watchdog_expired (expired),
        .run              (run),
        .done             (run_done),
        .failed           (run_failed),
        .cycles           (cycles),
        .differing        (differing)
    );

    // ---- Commands and replies -------------------------------------------------------------------

    wire       idle, stored, tested;
    reg [15:0] frames_reg = 0;  // answered with OK
    reg [15:0] errors_reg = 0;  // answered with another code,
    reg [3:0]  last_error_reg = OK;  // the last time with this one

    assign digit       = class_word[3:0];
    assign digit_valid = stored;
    assign active      = !frame_idle || !idle;

    command_control control (
        .clk           (clk),
        .rst           (rst),
        .payload_valid (payload_valid),
        .payload_data  (data),
        .frame_valid   (frame_valid),
        .frame_code    (frame_code),
        .classify      (classify),
        .repeating     (repeating),
        .idle          (idle),
        .run_start     (run_start),
        .blank         (blank),
        .several       (several),
        .images        (images),
        .run_done      (run_done),
        .run_failed    (run_failed),
        .network_rst   (network_rst),
        .reply_start   (reply_start),
        .replying      (replying),
        .reply_done    (reply_done),
        .code          (code),
        .stored        (stored),
        .tested        (tested)
    );

    always @(posedge clk) begin
        if (reply_done) begin
            if (code == OK) begin
                frames_reg <= frames_reg + 1'b1;
            end else begin
                errors_reg     <= errors_reg + 1'b1;
                last_error_reg <= code;
            end
        end
        if (rst) begin
            frames_reg     <= 0;
            errors_reg     <= 0;
            last_error_reg <= OK;
        end
    end

    reply_payload #(
        .CLASSES        (CLASSES),
        .LAYERS         (LAYERS),
        .IDENTITY_BYTES (IDENTITY_BYTES),
        .LENGTH_WIDTH   (LENGTH_WIDTH)
    ) payload (
        .clk         (clk),
        .code        (code),
        .identify    (identify),
        .classify    (classify),
        .repeating   (repeating),
        .status      (status),
        .length      (reply_length),
        .index       (reply_index),
        .data        (reply_byte),
        .taken       (reply_taken),
        .identity    (identity_byte),
        .signature   (signature),
        .class_index (class_word),
        .cycles      (cycles),
        .differing   (differing),
        .logit       (logit),
        .logit_taken (logit_taken),
        .frames      (frames_reg),
        .errors      (errors_reg),
        .last_error  (last_error_reg),
        .stored      (stored),
        .tested      (tested)
    );

endmodule

`default_nettype wire
