// SPDX-License-Identifier: Apache-2.0
//
// A network behind a UART: all of a board but its clock, its reset and its pins. fpga/README.md
// has the protocol.
//
// An image goes into the network only when its frame was right, and whole: nothing that happens on
// the wire leaves half an image in the pipeline. A network that does not answer, or says that
// something was wrong with the image, is reset.
//
// At the start, and after the network was reset, a blank image goes through it and its logits are
// dropped: by then every ROM has been read once, and `signature` is that of all weights. Frames
// that come meanwhile wait.
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

    localparam [3:0] OK = 0, WRONG_LENGTH = 4, NO_IMAGE = 6, NO_ANSWER = 7;

    localparam SIGNATURE_BYTES = 4 * LAYERS;
    localparam SIGNATURE_FIRST = 1 + IDENTITY_BYTES;
    localparam SIGNATURE_WIDTH = $clog2(SIGNATURE_BYTES);
    localparam IDENTITY_WIDTH  = $clog2(IDENTITY_BYTES + 1);
    localparam CLASS_WIDTH     = (CLASSES > 1) ? $clog2(CLASSES) : 1;

    // Payloads of replies, status code included.
    localparam IDENTIFY_LENGTH = SIGNATURE_FIRST + SIGNATURE_BYTES;
    localparam CLASSIFY_LENGTH = 7 + 4 * CLASSES;
    localparam REPEAT_LENGTH   = 9;
    localparam STATUS_LENGTH   = 7;
    localparam ERROR_LENGTH    = 1;
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

    wire       rx_line, rx_bit, rx_bit_valid, rx_valid, rx_framing_error;
    wire [7:0] rx_data;
    wire       tx_bit, tx_bit_valid, tx_valid, tx_ready;
    wire [7:0] tx_data;

    uart_rx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) receiver (
        .clk            (clk),
        .rst            (rst),
        .rx             (uart_rx),
        .line           (rx_line),
        .data_bit       (rx_bit),
        .data_bit_valid (rx_bit_valid),
        .data           (rx_data),
        .valid          (rx_valid),
        .framing_error  (rx_framing_error)
    );

    uart_tx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) transmitter (
        .clk            (clk),
        .rst            (rst),
        .data           (tx_data),
        .valid          (tx_valid),
        .ready          (tx_ready),
        .data_bit       (tx_bit),
        .data_bit_valid (tx_bit_valid),
        .tx             (uart_tx)
    );

    // ---- Frames ---------------------------------------------------------------------------------

    wire                    frame_idle, frame_valid, payload_valid, image_valid;
    wire [3:0]              frame_code;
    wire [7:0]              command, tag;
    wire                    identify, classify, repeating, status;
    wire [LENGTH_WIDTH-1:0] reply_index;
    reg  [LENGTH_WIDTH-1:0] reply_length;
    reg  [7:0]              reply_byte_reg;
    wire                    reply_taken, reply_done;
    wire                    rx_crc_init, rx_crc_step, rx_crc_drain;
    wire                    tx_crc_init, tx_crc_step, tx_crc_drain;
    wire [7:0]              crc_byte;
    wire                    run, expired, silence_restart, watchdog_restart;

    localparam [2:0] BOOT = 0, TEST = 1, IDLE = 2, BEGIN = 3, RUN = 4, START = 5, REPLY = 6;

    reg [2:0] state_reg = BOOT;
    reg [3:0] code_reg  = OK;  // what the reply says

    wire answering = state_reg == START || state_reg == REPLY;

    frame_receive #(
        .IMAGE_BYTES (IMAGE_BYTES)
    ) receive (
        .clk              (clk),
        .rst              (rst),
        .rx_line          (rx_line),
        .rx_bit           (rx_bit),
        .rx_bit_valid     (rx_bit_valid),
        .rx_data          (rx_data),
        .rx_valid         (rx_valid),
        .rx_framing_error (rx_framing_error),
        .silence_restart  (silence_restart),
        .silence_expired  (expired && !run),
        .crc_init         (rx_crc_init),
        .crc_step         (rx_crc_step),
        .crc_drain        (rx_crc_drain),
        .crc_bit          (crc_byte[0]),
        .idle             (frame_idle),
        .payload_valid    (payload_valid),
        .image_valid      (image_valid),
        .frame_valid      (frame_valid),
        .code             (frame_code),
        .command          (command),
        .tag              (tag),
        .identify         (identify),
        .classify         (classify),
        .repeating        (repeating),
        .status           (status),
        .resume           (reply_done),
        .drain            (code_reg != OK)
    );

    frame_send #(
        .LENGTH_WIDTH (LENGTH_WIDTH)
    ) send (
        .clk           (clk),
        .rst           (rst),
        .start         (state_reg == START),
        .command       (command),
        .tag           (tag),
        .length        (reply_length),
        .payload_index (reply_index),
        .payload_data  (reply_byte_reg),
        .payload_taken (reply_taken),
        .done          (reply_done),
        .tx_data       (tx_data),
        .tx_valid      (tx_valid),
        .tx_ready      (tx_ready),
        .tx_bit_valid  (tx_bit_valid),
        .crc_init      (tx_crc_init),
        .crc_step      (tx_crc_step),
        .crc_drain     (tx_crc_drain),
        .crc_byte      (crc_byte)
    );

    // One for both directions, since the board never listens while it answers.
    crc32 crc32 (
        .clk      (clk),
        .init     (answering ? tx_crc_init : rx_crc_init),
        .step     (answering ? tx_crc_step : rx_crc_step),
        .drain    (answering ? tx_crc_drain : rx_crc_drain),
        .data_bit (answering ? tx_bit : rx_bit),
        .value    (crc_byte)
    );

    // Likewise: while images run, the silence of the wire can wait.
    timeout #(
        .TIMEOUT (TIMEOUT)
    ) timeout (
        .clk     (clk),
        .restart (run ? watchdog_restart : silence_restart),
        .expired (expired)
    );

    // ---- The network ----------------------------------------------------------------------------

    reg                       network_rst_reg = 1'b0;
    reg  [15:0]               count_reg;             // of `repeat`
    wire                      several = state_reg == RUN && repeating;
    wire                      run_start, run_done, run_failed;
    wire                      image_done, image_differs, misplaced, frame_error;
    wire [31:0]               cycles;
    wire [15:0]               differing;
    wire [CLASS_WIDTH-1:0]    class_index;
    wire [15:0]               class_word = {{(16 - CLASS_WIDTH){1'b0}}, class_index};
    wire [7:0]                identity_byte;
    wire [31:0]               logit;
    reg                       logit_taken_reg;
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
        .write_data    (rx_data),
        .identity_addr (reply_index[IDENTITY_WIDTH-1:0]),
        .identity_data (identity_byte),
        .start         (run_start),
        .stop          (run_failed),
        .blank         (state_reg == TEST),
        .single        (!several),
        .images        (count_reg),
        .m_axis_tdata  (pixel_tdata),
        .m_axis_tlast  (pixel_tlast),
        .m_axis_tvalid (pixel_tvalid),
        .m_axis_tready (pixel_tready)
    );

    `NETWORK network (
        .clk           (clk),
        .rst           (network_rst_reg),
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
        .read          (state_reg == REPLY),
        .read_next     (logit_taken_reg),
        .read_logit    (logit)
    );

    run_control run_control (
        .clk              (clk),
        .rst              (rst),
        .start            (run_start),
        .single           (!several),
        .images           (count_reg),
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

    // ---- What is done about a frame -------------------------------------------------------------

    reg        stored_reg = 1'b0;  // the image, its class and its logits belong together
    reg        tested_reg = 1'b0;
    reg [15:0] frames_reg = 0;
    reg [15:0] errors_reg = 0;
    reg [3:0]  last_error_reg = OK;

    assign run_start   = state_reg == BOOT || state_reg == BEGIN;
    assign digit       = class_word[3:0];
    assign digit_valid = stored_reg;
    assign active      = !frame_idle || state_reg != IDLE;

    always @(posedge clk) begin
        network_rst_reg <= rst || run_failed;
        if (payload_valid)
            count_reg <= {rx_data, count_reg[15:8]};

        case (state_reg)
            BOOT:
                state_reg <= TEST;
            TEST:
                if (run_done || run_failed) begin
                    state_reg  <= IDLE;
                    tested_reg <= run_done;
                end
            IDLE:
                if (frame_valid) begin
                    state_reg <= START;
                    code_reg  <= frame_code;
                    if (frame_code == OK && classify)
                        state_reg <= BEGIN;
                    if (frame_code == OK && repeating) begin
                        if (count_reg == 0)
                            code_reg <= WRONG_LENGTH;
                        else if (!stored_reg)
                            code_reg <= NO_IMAGE;
                        else
                            state_reg <= BEGIN;
                    end
                end
            BEGIN:
                state_reg <= RUN;
            RUN:
                if (run_done || run_failed) begin
                    state_reg  <= START;
                    code_reg   <= run_done ? OK : NO_ANSWER;
                    stored_reg <= run_done;
                end
            START:
                state_reg <= REPLY;
            default:
                if (reply_done) begin
                    state_reg <= (code_reg == NO_ANSWER) ? BOOT : IDLE;
                    if (code_reg == OK) begin
                        frames_reg <= frames_reg + 1'b1;
                    end else begin
                        errors_reg     <= errors_reg + 1'b1;
                        last_error_reg <= code_reg;
                    end
                end
        endcase

        // Whatever was wrong, the host may have meant to send another image.
        if (state_reg == START && code_reg != OK)
            stored_reg <= 1'b0;

        if (rst) begin
            state_reg      <= BOOT;
            code_reg       <= OK;
            stored_reg     <= 1'b0;
            tested_reg     <= 1'b0;
            frames_reg     <= 0;
            errors_reg     <= 0;
            last_error_reg <= OK;
        end
    end

    // ---- What a reply holds ---------------------------------------------------------------------

    // Taken from wherever they are in several steps, since a byte takes long to send.
    reg  [15:0]                half_reg;
    reg  [31:0]                word_reg;
    reg  [7:0]                 signature_byte_reg;
    wire [SIGNATURE_WIDTH-1:0] signature_index = reply_index[SIGNATURE_WIDTH-1:0]
                                                 - SIGNATURE_FIRST[SIGNATURE_WIDTH-1:0];
    // Words begin at an index of 3, 7, 11, ...
    wire [1:0]                 word_byte       = reply_index[1:0] + 1'b1;

    always @(posedge clk) begin
        half_reg <= status ? frames_reg : class_word;
        if (status)
            word_reg <= {6'd0, tested_reg, stored_reg, 4'd0, last_error_reg, errors_reg};
        else if (reply_index < 7)
            word_reg <= cycles;
        else if (repeating)
            word_reg <= {16'd0, differing};
        else
            word_reg <= logit;
        signature_byte_reg <= signature[8*signature_index +: 8];

        reply_byte_reg <= word_reg[8*word_byte +: 8];
        if (reply_index == 1)
            reply_byte_reg <= half_reg[7:0];
        if (reply_index == 2)
            reply_byte_reg <= half_reg[15:8];
        if (identify)
            reply_byte_reg <= (reply_index < SIGNATURE_FIRST[LENGTH_WIDTH-1:0])
                              ? identity_byte : signature_byte_reg;
        if (reply_index == 0)
            reply_byte_reg <= {4'd0, code_reg};

        // The last byte of each logit has an index of 10, 14, 18, ...
        logit_taken_reg <= reply_taken && reply_index[LENGTH_WIDTH-1:3] != 0
                           && reply_index[1:0] == 2;
        reply_length    <= (code_reg != OK) ? ERROR_LENGTH[LENGTH_WIDTH-1:0]
                           : identify       ? IDENTIFY_LENGTH[LENGTH_WIDTH-1:0]
                           : classify       ? CLASSIFY_LENGTH[LENGTH_WIDTH-1:0]
                           : repeating      ? REPEAT_LENGTH[LENGTH_WIDTH-1:0]
                                            : STATUS_LENGTH[LENGTH_WIDTH-1:0];
    end

endmodule

`default_nettype wire
