// SPDX-License-Identifier: Apache-2.0
//
// Stands in for a network in the benches of the link: the same ports, an image in and logits out,
// but so small that a bench can work out the logits itself, and as faulty as an image asks for.
//
// hash = 31 * hash + byte over the bytes of an image, from 1; logit c = hash ^ c * 0x9E3779B9.
// The first byte of an image is also an order:
//   0xF0  take the image and say nothing
//   0xF1  flag the image with frame_error and drop it
//   0xF2  other logits for every other image
//   0xF3  give one beat of logits too many
//   0xF4  take no beat after the first
// An image whose tlast is out of place is flagged too.
// STALL: 0 for full speed, 1 for uneven tready and tvalid, 2 for one beat every 255 clocks.

`default_nettype none

module stand_in #(
    parameter IMAGE_BYTES = `STAND_IN_IMAGE_BYTES,
    parameter BEAT_BYTES  = `STAND_IN_BEAT_BYTES,
    parameter CLASSES     = `STAND_IN_CLASSES,
    parameter LOGIT_LANES = `STAND_IN_LOGIT_LANES,
    parameter LAYERS      = `STAND_IN_LAYERS,
    parameter STALL       = `STAND_IN_STALL
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*BEAT_BYTES-1:0]   s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    input  wire                      s_axis_tlast,
    output wire [32*LOGIT_LANES-1:0] m_axis_tdata,
    output wire [15:0]               m_axis_tuser,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready,
    output wire                      m_axis_tlast,
    output reg                       frame_error,
    output wire [32*LAYERS-1:0]      signature
);

    localparam BEATS = IMAGE_BYTES / BEAT_BYTES;
    localparam WORDS = (CLASSES + LOGIT_LANES - 1) / LOGIT_LANES;

    localparam [7:0] SILENT = 8'hF0, FLAG = 8'hF1, OTHER = 8'hF2, LONG = 8'hF3, STUCK = 8'hF4;

    reg [31:0] beat_reg = 0;
    reg [31:0] hash_reg = 1;
    reg [7:0]  order_reg = 0;
    reg        odd_reg = 0;
    reg        seen_reg = 0;      // an image has gone through
    reg [31:0] result_reg;
    reg        long_reg;
    reg [31:0] word_reg;
    reg        busy_reg = 0;      // logits are going out
    reg [7:0]  noise_reg = 8'h5A;

    wire last = beat_reg == BEATS - 1;
    wire go   = STALL == 0 || (STALL == 1 && (noise_reg[0] ^ noise_reg[3]))
                || (STALL == 2 && noise_reg == 8'h5A);

    // A next image's last beat waits for the logits of this one.
    assign s_axis_tready = go && !(last && busy_reg) && !(order_reg == STUCK && beat_reg != 0);

    wire [7:0]  order = (beat_reg == 0) ? s_axis_tdata[7:0] : order_reg;
    wire        taken = s_axis_tvalid && s_axis_tready;
    reg  [31:0] hash;
    integer     b;
    always @* begin
        hash = (beat_reg == 0) ? 32'd1 : hash_reg;
        for (b = 0; b < BEAT_BYTES; b = b + 1)
            hash = hash * 32'd31 + {24'd0, s_axis_tdata[8*b +: 8]};
    end

    genvar i;
    generate
        for (i = 0; i < LOGIT_LANES; i = i + 1) begin : gen_lane
            wire [31:0] index = word_reg * LOGIT_LANES + i;
            // A lane that does not count holds something else each time.
            assign m_axis_tdata[32*i +: 32] = (index < CLASSES)
                ? result_reg ^ (index * 32'h9E3779B9) : {32{odd_reg}};
        end
        for (i = 0; i < LAYERS; i = i + 1) begin : gen_signature
            wire [31:0] layer = i;
            assign signature[32*i +: 32] = seen_reg ? 32'hC0DE0000 + layer : 32'd0;
        end
    endgenerate

    // The largest logit of all: the bench has the same loop.
    reg [15:0]        best_index;
    reg signed [31:0] best, logit;
    reg [15:0]        c;
    always @* begin
        best_index = 0;
        best       = result_reg;
        logit      = result_reg;
        for (c = 0; c < CLASSES; c = c + 1'b1) begin
            logit = result_reg ^ ({16'd0, c} * 32'h9E3779B9);
            if (logit > best) begin
                best       = logit;
                best_index = c;
            end
        end
    end

    assign m_axis_tuser  = best_index;
    assign m_axis_tvalid = busy_reg && go;
    assign m_axis_tlast  = word_reg == (long_reg ? WORDS : WORDS - 1);

    always @(posedge clk) begin
        noise_reg   <= {noise_reg[6:0], noise_reg[7] ^ noise_reg[5] ^ noise_reg[4] ^ noise_reg[3]};
        frame_error <= 1'b0;
        if (m_axis_tvalid && m_axis_tready) begin
            word_reg <= word_reg + 1;
            busy_reg <= !m_axis_tlast;
        end
        if (taken) begin
            beat_reg  <= (last || s_axis_tlast) ? 0 : beat_reg + 1;
            hash_reg  <= hash;
            order_reg <= order;
            if (last != s_axis_tlast || (last && order == FLAG)) begin
                frame_error <= 1'b1;
            end else if (last && order != SILENT) begin
                seen_reg   <= 1'b1;
                busy_reg   <= 1'b1;
                word_reg   <= 0;
                odd_reg    <= !odd_reg;
                long_reg   <= order == LONG;
                result_reg <= (order == OTHER && odd_reg) ? ~hash : hash;
            end
        end
        if (rst) begin
            beat_reg  <= 0;
            order_reg <= 0;
            busy_reg  <= 0;
            seen_reg  <= 0;
            odd_reg   <= 0;
        end
    end

endmodule

`default_nettype wire
